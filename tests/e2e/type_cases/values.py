"""Corner values of every type, as literals that are cast to the type.

BUILTIN is held against pg_type: a type that the server has and this file does not know makes the test
fail. EXCLUDED says why a type is left out.
"""
LONG_NAME = "n" * 63
UNICODE = "Z\u00fcrich \u6771\u4eac \U0001f680 e\u0301 \u202e \U0010ffff"
AWKWARD = ["", " ", "\\N", "\\.", "NULL", "null", "\t\n\r\b\f\v", "'\"\\", "{,}", "()", UNICODE, "a" * 300]

DOUBLES = ["0", "-0", "1", "-1.5", "NaN", "Infinity", "-Infinity", "0.1", "1e-5", "123456789.123456789"]
FLOAT4 = DOUBLES + ["1e-45", "-1e-45", "1.17549435e-38", "1.1754942e-38", "3.4028235e38", "-3.4028235e38"]
FLOAT8 = DOUBLES + ["5e-324", "-5e-324", "2.2250738585072014e-308", "2.225073858507201e-308",
                    "1.7976931348623157e308", "-1.7976931348623157e308", "0.30000000000000004"]
NUMERIC = ["0", "0.00", "-1", "1", "1.0", "1.00", "NaN", "Infinity", "-Infinity", "1e131071", "-1e-16383",
           "1e-16383", "9999.9999", "10000", "0.0001", "12345678901234567890123456789.987654321",
           "-99999999999999999999999999999999999999"]
TIMESTAMPS = ["4714-11-24 00:00:00 BC", "0001-12-31 23:59:59.999999 BC", "0001-01-01 00:00:00", "infinity",
              "-infinity", "epoch", "1999-12-31 23:59:59.999999", "2000-01-01 00:00:00",
              "1582-10-15 00:00:01",
              "294276-12-31 23:59:59.999999", "2024-02-29 12:34:56.7"]
SNAPSHOTS = ["1:1:", "10:20:10,14,15", "4294967396:4294967400:4294967397,4294967399",
             "9223372036854775806:9223372036854775807:"]
TEXTS = AWKWARD

BUILTIN = {
    "bool": ["true", "false"],
    "bytea": ["", "\\x00", "\\xdeadbeef00ff", "\\x5c27220a0d09", "\\x" + "00ff" * 200],
    "char": ["", " ", "a", "\\303", "\\377", "\\", "'", '"', "\x7f", "\t"],
    "name": ["", "a", "Quoted \"name\"", "sch\u00f6n", LONG_NAME],
    "int8": ["0", "1", "-1", "9223372036854775807", "-9223372036854775808"],
    "int2": ["0", "1", "-1", "32767", "-32768"],
    "int4": ["0", "1", "-1", "2147483647", "-2147483648"],
    "int2vector": ["", "1", "1 2 3", "-32768 32767 0"],
    "oidvector": ["", "1", "1 2 3", "4294967295 0"],
    "text": TEXTS,
    "varchar": TEXTS,
    "bpchar": TEXTS + ["a", "a  "],
    "refcursor": TEXTS,
    "oid": ["0", "1", "16384", "2147483648", "4294967295"],
    "tid": ["(0,0)", "(0,1)", "(4294967295,65535)"],
    "xid": ["0", "3", "2147483648", "4294967295"],
    "cid": ["0", "1", "4294967295"],
    "xid8": ["0", "3", "4294967296", "18446744073709551615"],
    "json": ["null", "\"\"", "{}", "[]", "{\"a\" :1,  \"a\": 2}", "[1e400, -0, 1.0, 1.00]", " [ ] ",
             "{\"\\u0000\": \"\\ud83d\\ude80\", \"é\": \"\\\\N\"}", "\"" + "x" * 300 + "\""],
    "jsonb": ["null", "\"\"", "{}", "[]", "{\"b\": {\"a\": [1, null, true, {}]}}", "[1e400, -0, 1.0, 1.00]",
              "\"\\ud83d\\ude80\"", "\"\\\\N\"", "12345678901234567890.1234567890", "{\"\": \"\"}"],
    "jsonpath": ["$", "strict $.a[*] ? (@.b > 1 && @.c like_regex \"^x\" flag \"i\")",
                 "lax $.**{2 to last}.\"k é\"",
                 "$.a.datetime(\"HH24:MI\").type()"],
    "xml": ["", "text", "<a/>", "<a b=\"c\">é<!-- c --><![CDATA[<&>]]></a>", "one<b/>two",
            "<?xml version=\"1.0\" standalone=\"yes\"?><a/>", "<?xml version=\"1.1\"?><a>&#233;</a>"],
    "point": ["(0,0)", "(-0,1e-320)", "(NaN,Infinity)", "(-Infinity,1.7976931348623157e308)", "(1.5,-2.25)"],
    "lseg": ["[(0,0),(1,1)]", "[(-0,5e-324),(Infinity,NaN)]", "[(1,2),(1,2)]"],
    "path": ["[(0,0)]", "((0,0),(1,1),(2,0))", "[(0.1,-0),(1e300,1e-300),(3,4)]"],
    "box": ["(1,1),(0,0)", "(Infinity,1),(-Infinity,-0)", "(0.1,0.2),(0.1,0.2)"],
    "polygon": ["((0,0))", "((0,0),(1,1),(2,0))", "((-0,0.1),(1e300,1e-300),(3,4),(0,0))"],
    "line": ["{1,2,3}", "{0,-1,0.1}", "{1,0,-0}", "{1e300,1e-300,NaN}"],
    "circle": ["<(0,0),0>", "<(-0,0.1),1e300>", "<(NaN,Infinity),1>"],
    "float4": FLOAT4,
    "float8": FLOAT8,
    "money": ["0", "0.01", "-0.01", "92233720368547758.07", "-92233720368547758.08"],
    "numeric": NUMERIC,
    "macaddr": ["00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "08:00:2b:01:02:03"],
    "macaddr8": ["00:00:00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff:ff:ff", "08:00:2b:ff:fe:01:02:03"],
    "inet": ["0.0.0.0/0", "255.255.255.255", "192.168.1.5/24", "192.168.1.5", "::", "::/0", "::1",
             "fe80::1/64",
             "::ffff:1.2.3.4", "2001:db8::8:800:200c:417a/128"],
    "cidr": ["0.0.0.0/0", "10.0.0.0/8", "192.168.1.5/32", "::/0", "2001:db8::/32", "::1/128"],
    "aclitem": ["postgres=arwdDxt/postgres", "=r/postgres", "\"odd role é\"=r*w*/postgres"],
    "date": ["4714-11-24 BC", "0001-12-31 BC", "0001-01-01", "5874897-12-31", "infinity", "-infinity",
             "epoch",
             "2000-02-29", "1999-12-31", "2000-01-01"],
    "time": ["00:00:00", "24:00:00", "23:59:59.999999", "12:34:56.000001"],
    "timetz": ["00:00:00+15:59:59", "24:00:00-15:59:59", "12:34:56.000001+05:45", "23:59:59.999999+00",
               "10:00:00+02", "09:00:00+01"],
    "timestamp": TIMESTAMPS,
    "timestamptz": [f"{value} UTC" if value[0].isdigit() and "BC" not in value
                    else value.replace(" BC", "+00 BC") for value in TIMESTAMPS],
    "interval": ["0", "1 mon", "30 days", "1 day", "24:00:00", "-1 mon +2 days -00:00:00.000001",
                 "178000000 years", "-178000000 years", "2147483647 days", "-2147483648 days",
                 "1 year 2 mons -3 days 04:05:06.789"],
    "bit": ["0", "1"],
    "varbit": ["", "0", "1", "10101010", "101010101", "1" * 333],
    "regproc": ["0", "pg_catalog.now", "pg_catalog.version"],
    "regprocedure": ["0", "pg_catalog.lower(text)", "pg_catalog.abs(bigint)"],
    "regoper": ["0", "pg_catalog.||/", "pg_catalog.|/"],
    "regoperator": ["0", "pg_catalog.+(integer,integer)", "pg_catalog.||/(NONE,double precision)"],
    "regclass": ["0", "pg_catalog.pg_class", "types_common.\"Odd table é\"", "types_common.some_sequence"],
    "regcollation": ["0", "pg_catalog.\"C\"", "pg_catalog.\"default\""],
    "regtype": ["0", "integer", "text[]", "types_common.mood", "types_common.mood[]", "types_common.pair"],
    "regrole": ["0", "postgres", "\"odd role é\""],
    "regnamespace": ["0", "pg_catalog", "types_common"],
    "regconfig": ["0", "english", "pg_catalog.simple"],
    "regdictionary": ["0", "english_stem", "pg_catalog.simple"],
    "uuid": ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff",
             "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
    "pg_lsn": ["0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF"],
    "tsvector": ["", "a", "'a b':1A,2B 'c':3,16383D 'é'", "'\\\\' 'it''s':5"],
    "tsquery": ["", "a", "a & !b | c:*AB", "'x y' <2> z", "!(a <-> b)"],
    "txid_snapshot": SNAPSHOTS,
    "pg_snapshot": SNAPSHOTS,
    "int4range": ["empty", "(,)", "[1,10)", "[,5)", "[-2147483648,2147483647)", "[3,)"],
    "int8range": ["empty", "(,)", "[1,10)", "[-9223372036854775808,9223372036854775807)"],
    "numrange": ["empty", "(,)", "[1.0,2.00]", "(1,2)", "[-Infinity,NaN]", "[0.0,)"],
    "tsrange": ["empty", "(,)", "[-infinity,infinity]", "[\"0001-12-31 BC\",294276-12-31)",
                "[2000-01-01,2000-01-01]"],
    "tstzrange": ["empty", "(,)", "[-infinity,infinity]", "(\"2000-01-01 00:00:00.000001+05:45\",)"],
    "daterange": ["empty", "(,)", "[-infinity,infinity)", "[\"4714-11-24 BC\",5874897-12-31)"],
    "int4multirange": ["{}", "{[1,2),[5,8)}", "{(,)}", "{(,-5),[7,)}"],
    "int8multirange": ["{}", "{[1,2),[5,8)}", "{(,)}"],
    "nummultirange": ["{}", "{[1.0,2.00],(3,4)}", "{(,)}"],
    "tsmultirange": ["{}", "{[-infinity,2000-01-01),[2001-01-01,infinity]}", "{(,)}"],
    "tstzmultirange": ["{}", "{[2000-01-01 00:00+00,2001-01-01 00:00+00)}", "{(,)}"],
    "datemultirange": ["{}", "{[2000-01-01,2000-01-05),[2001-01-01,)}", "{(,)}"],
}

# Built-in types without a column of their own in this test.
EXCLUDED = {
    # Their input functions refuse every value, so no dump and no copy can carry one; columns of
    # these types that hold NULL are in the test (ONLY_NULL).
    "pg_node_tree": "no input", "pg_ndistinct": "no input", "pg_dependencies": "no input",
    "pg_mcv_list": "no input", "gtsvector": "no input", "pg_brin_bloom_summary": "no input",
    "pg_brin_minmax_multi_summary": "no input",
}
ONLY_NULL = sorted(EXCLUDED)

# Types made by common.sql and by extensions: spelling → values.
MADE = {
    "types_common.mood": ["sad", "it's", "sch\u00f6n", "", "comma,brace}", LONG_NAME, "added later"],
    "types_common.pair": ["(,)", "(1,a)", "(,\"\")", "(-5,\"quote\"\" comma, \\\\ paren)\")"],
    "types_common.nested": ["(,,)", "(\"(1,x)\",\"{sad,it's}\",\"[1,5)\")", "(\"(,)\",{},empty)"],
    "types_common.positive": ["1", "2147483647"],
    "types_common.code": ["AB", "\u00c4\u00d6"],
    "types_common.code_of_code": ["AB", "ZZ"],
    "types_common.pair_domain": ["(1,a)", "(2,)"],
    "types_common.list_domain": ["{1}", "[3:4]={1,2}"],
    "types_common.float_range": ["empty", "[1.5,2.5]", "(-Infinity,NaN]", "[-0,0]"],
    "types_common.float_multirange": ["{}", "{[1.5,2.5],(3,4)}"],
    "types_common.mood_range": ["empty", "[sad,it's]", "(,)"],
    "types_common.mood_multirange": ["{}", "{[sad,it's]}", "{(,)}"],
    "types_common.text_only": TEXTS,
    "public.citext": ["", "a", "A", "\u00c4bc", "\\N"],
    "public.hstore": ["", "a=>1", "a=>NULL, \"b c\"=>\"\", \"\\\"\"=>\"=>\"", "\u00e9=>\"\\\\N\""],
    "public.ltree": ["", "a", "Top.Science.Astronomy_1"],
    "public.lquery": ["*", "Top.*{0,2}.sci*@%.!a|b"],
    "public.ltxtquery": ["a & b", "!a@* | b%"],
    "public.cube": ["(0)", "(1,2,3),(4,5,6)", "(-0,1e-300)"],
    "public.seg": ["1", "1.0 .. 2.00", "<5", "7(+-)1"],
    "public.isbn": ["978-0-11-000533-1", "978-1-4028-9462-6"],
    "public.query_int": ["1&2", "1&(2|!3)"],
    # Not POINT(NaN NaN): PostGIS writes it as POINT EMPTY, in text and in binary.
    "public.geometry": ["POINT EMPTY", "POINT(0 -0)", "SRID=4326;POINT ZM(1.1 2.2 3.3 4.4)",
                        "POLYGON((0 0,1 0,1 1,0 0),(0.1 0.1,0.2 0.1,0.2 0.2,0.1 0.1))",
                        "GEOMETRYCOLLECTION(POINT(1 2),LINESTRING(0 0,1e300 1e-300),MULTIPOINT EMPTY)",
                        "CIRCULARSTRING(0 0,1 1,2 0)"],
    "public.geography": ["POINT(-180 90)", "LINESTRING(0 0,1 1)", "POINT EMPTY"],
    "public.box2d": ["BOX(0 0,1 1)"],
    "public.box3d": ["BOX3D(0 0 0,1 1 1)"],
}
EXTENSIONS = ["citext", "hstore", "ltree", "cube", "seg", "isn", "intarray", "postgis"]

# No default btree operator class: such a column cannot be a key. Held against the server.
NO_BTREE = {
    "json", "jsonpath", "xml", "point", "lseg", "path", "box", "polygon", "line", "circle", "aclitem", "xid",
    "cid", "refcursor", "txid_snapshot", "pg_snapshot",
    "public.lquery", "public.ltxtquery", "public.query_int", "public.box2d", "public.box3d",
    "types_common.text_only",
}
# Equal for btree, different in bits: an update of a key from one to the other must arrive.
EQUAL = {
    "numeric": ("1.0", "1.00"), "float4": ("0", "-0"), "float8": ("0", "-0"),
    "interval": ("1 mon", "30 days"),
    "bpchar": ("a", "a  "), "jsonb": ("1.0", "1.00"), "numrange": ("[1.0,2)", "[1.00,2)"),
    "nummultirange": ("{[1.0,2)}", "{[1.00,2)}"), "public.citext": ("a", "A"),
    "types_common.float_range": ("[-0,1]", "[0,1]"),
}
# Their text is thousands of digits: not for arrays of hundreds.
HEAVY = {"1e131071", "1e-16383", "-1e-16383"}

# Not compared in binary form: it holds OIDs, which name other objects on another server ...
OIDS_INSIDE = {
    "regproc", "regprocedure", "regoper", "regoperator", "regclass", "regcollation", "regtype", "regrole",
    "regnamespace", "regconfig", "regdictionary", "types_common.pair", "types_common.nested",
    "types_common.pair_domain",
}
# ... or there is none. Held against the server.
NO_SEND = {
    "aclitem", "types_common.text_only", "public.seg", "public.isbn", "public.query_int", "public.box2d",
    "public.box3d",
}
NO_BINARY = OIDS_INSIDE | NO_SEND
