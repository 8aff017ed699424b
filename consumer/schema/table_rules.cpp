#include "schema/table_rules.h"

#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/check.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "pg/quoting.h"
#include "schema/type_catalog.h"

namespace towline {
namespace {

// In the text of a rule, behind all others.
constexpr absl::string_view kSharedMember = ",\"shared\":";
constexpr absl::string_view kSharedValue = ",\"value\":";

std::string JsonString(absl::string_view text) {
  std::string json = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') {
      absl::StrAppend(&json, "\\", std::string(1, c));
    } else if (static_cast<unsigned char>(c) < 0x20) {
      absl::StrAppendFormat(&json, "\\u%04x", static_cast<unsigned>(c));
    } else {
      json.push_back(c);
    }
  }
  json.push_back('"');
  return json;
}

std::string ColumnJson(const RuleColumn& column) {
  if (!column.expression.has_value()) return JsonString(column.name);
  return absl::StrCat("{\"name\":", JsonString(column.name),
                      ",\"expression\":", JsonString(*column.expression), "}");
}

// ,"where":... and the like: what the rule has.
std::string MembersJson(const TableRule& rule) {
  std::string json;
  if (!rule.where.empty()) absl::StrAppend(&json, ",\"where\":", JsonString(rule.where));
  if (rule.has_columns) {
    std::vector<std::string> columns;
    for (const RuleColumn& column : rule.columns) columns.push_back(ColumnJson(column));
    absl::StrAppend(&json, ",\"columns\":[", absl::StrJoin(columns, ","), "]");
  }
  if (rule.operations != RuleOperations()) {
    std::vector<std::string> words;
    if (rule.operations.has_insert) words.push_back("\"insert\"");
    if (rule.operations.has_update) words.push_back("\"update\"");
    if (rule.operations.has_delete) words.push_back("\"delete\"");
    if (rule.operations.has_truncate) words.push_back("\"truncate\"");
    absl::StrAppend(&json, ",\"operations\":[", absl::StrJoin(words, ","), "]");
  }
  return json;
}

std::string FromTable(const Table& table) {
  return absl::StrCat(" FROM ONLY ", QuoteQualified(table.name.schema, table.name.name));
}

absl::Status ExplainRuleError(const absl::Status& status, const Table& table,
                              absl::string_view what) {
  // What the server says about a text it will say again; a lost connection stays one.
  absl::Status explained = WithContext(
      status, absl::StrCat("the rule of table ", QuoteQualified(table.name.schema, table.name.name),
                           ", ", what));
  std::string sqlstate = GetSqlState(status);
  if (!absl::StartsWith(sqlstate, "42") && !absl::StartsWith(sqlstate, "22") &&
      !absl::StartsWith(sqlstate, "0A")) {
    return explained;
  }
  explained = WithCode(explained, absl::StatusCode::kFailedPrecondition);
  return GetHint(status).empty()
             ? WithHint(explained, "Correct the table's where or columns in the configuration.")
             : explained;
}

class Publisher {
 public:
  Publisher(Connection& source, AssignmentCheck check) : source_(source), check_(check) {}

  absl::Status Publish(const TableRule& rule, Table* table) {
    if (!rule.where.empty()) {
      TOWLINE_RETURN_IF_ERROR(Bind(
          *table, "where",
          absl::StrCat("SELECT", FromTable(*table), " WHERE ", AsOperand(rule.where), " LIMIT 0")));
    }
    if (!rule.has_columns) return absl::OkStatus();
    TOWLINE_RETURN_IF_ERROR(CheckNames(rule, *table));
    TOWLINE_RETURN_IF_ERROR(CheckShared(rule, *table));
    std::vector<TableColumn> columns;
    for (TableColumn& column : table->columns) {
      const RuleColumn* listed = rule.FindColumn(column.name);
      if (listed == nullptr) continue;
      if (listed->expression.has_value()) {
        TOWLINE_RETURN_IF_ERROR(ReadBaseType(&column));
        TOWLINE_RETURN_IF_ERROR(BindReplaced(*table, column, *listed->expression));
      }
      columns.push_back(column);
    }
    for (const RuleColumn& listed : rule.columns) {
      if (table->FindColumn(listed.name) != nullptr) continue;
      TOWLINE_ASSIGN_OR_RETURN(TableColumn added, ReadAdded(*table, listed));
      columns.push_back(std::move(added));
    }
    table->columns = std::move(columns);
    return absl::OkStatus();
  }

 private:
  static absl::Status Refuse(const Table& table, absl::string_view text) {
    return WithHint(
        absl::FailedPreconditionError(absl::StrCat(
            "the rule of table ", QuoteQualified(table.name.schema, table.name.name), ": ", text)),
        "Correct the table's columns in the configuration.");
  }

  static absl::Status CheckNames(const TableRule& rule, const Table& table) {
    for (const RuleColumn& listed : rule.columns) {
      const TableColumn* column = table.FindColumn(listed.name);
      std::string name = QuoteIdentifier(listed.name);
      if (column == nullptr && !listed.expression.has_value()) {
        return Refuse(table, absl::StrCat("there is no column ", name));
      }
      if (column != nullptr && column->generated != '\0' && listed.expression.has_value()) {
        return Refuse(table, absl::StrCat("column ", name,
                                          " is generated: the destination computes it, an "
                                          "expression cannot replace it"));
      }
    }
    return absl::OkStatus();
  }

  // A cast may say something else than the literal: 'eu'::"char".
  absl::Status CheckShared(const TableRule& rule, const Table& table) {
    if (rule.shared.empty()) return absl::OkStatus();
    if (table.kind != 'r' || !table.ancestors.empty()) {
      return Refuse(table, "a partitioned table, or a partition, cannot be shared");
    }
    const RuleColumn* column = rule.FindColumn(rule.shared);
    TOWLINE_CHECK(column != nullptr && column->expression.has_value());
    absl::StatusOr<std::string> is_same = source_.QueryValue(
        absl::StrCat("SELECT COALESCE(", AsOperand(*column->expression),
                     "::pg_catalog.text = ", QuoteLiteral(rule.shared_value), ", false)"));
    if (!is_same.ok()) return ExplainRuleError(is_same.status(), table, "shared");
    if (*is_same == "t") return absl::OkStatus();
    return Refuse(table, absl::StrCat("the expression of ", QuoteIdentifier(rule.shared),
                                      " gives another value than it says"));
  }

  absl::Status Bind(const Table& table, absl::string_view what, const std::string& sql) {
    absl::Status bound = source_.Exec(sql).status();
    return bound.ok() ? bound : ExplainRuleError(bound, table, what);
  }

  // As an INSERT would take it: what can only be had by an explicit cast is refused, here and by
  // the plugin. PREPARE looks at the statement and does nothing.
  absl::Status BindReplaced(const Table& table, const TableColumn& column,
                            const std::string& expression) {
    std::string what = absl::StrCat("column ", QuoteIdentifier(column.name));
    TOWLINE_RETURN_IF_ERROR(Bind(
        table, what,
        absl::StrCat("SELECT ", RuleValueSql(column, expression), FromTable(table), " LIMIT 0")));
    if (check_ == AssignmentCheck::kSkip) return absl::OkStatus();
    absl::Status bound =
        Bind(table, what,
             absl::StrCat("PREPARE towline_rule AS INSERT INTO ",
                          QuoteQualified(table.name.schema, table.name.name), " (",
                          QuoteIdentifier(column.name), ") OVERRIDING SYSTEM VALUE SELECT ",
                          AsOperand(expression), FromTable(table)));
    if (GetSqlState(bound) == "55P03") return absl::OkStatus();  // the stream's start asks again
    TOWLINE_RETURN_IF_ERROR(bound);
    return source_.Exec("DEALLOCATE towline_rule").status();
  }

  // A domain's constraints and length are the destination's to check, as with a modifier.
  absl::Status ReadBaseType(TableColumn* column) {
    if (column->type_kind != 'd') return absl::OkStatus();
    TOWLINE_ASSIGN_OR_RETURN(
        Result base,
        source_.Query("WITH RECURSIVE below(oid, base) AS ("
                      "SELECT t.oid, t.typbasetype FROM pg_catalog.pg_type t WHERE t.oid = $1::oid "
                      "UNION ALL SELECT t.oid, t.typbasetype FROM below "
                      "JOIN pg_catalog.pg_type t ON t.oid = below.base) "
                      "SELECT n.nspname, t.typname FROM below "
                      "JOIN pg_catalog.pg_type t ON t.oid = below.oid "
                      "JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace "
                      "WHERE t.typtype <> 'd'",
                      {{absl::StrCat(column->type_oid)}}));
    if (base.row_count() != 1) return absl::InternalError("a domain without a base type");
    column->base_type_sql = QuoteQualified(base.Get(0, 0), base.Get(0, 1));
    return absl::OkStatus();
  }

  // pg_typeof() knows domains, which a result's description shows as their base types; only the
  // description knows the modifier.
  absl::StatusOr<TableColumn> ReadAdded(const Table& table, const RuleColumn& listed) {
    std::string what = absl::StrCat("column ", QuoteIdentifier(listed.name));
    std::string value =
        absl::StrCat("(SELECT ", AsOperand(*listed.expression), FromTable(table), " LIMIT 0)");
    absl::StatusOr<Result> described = source_.Exec(absl::StrCat("SELECT ", value));
    if (!described.ok()) return ExplainRuleError(described.status(), table, what);
    int modifier = PQfmod(described->raw(), 0);
    absl::StatusOr<Result> type = source_.Exec(absl::StrCat(
        "SELECT t.oid, n.nspname, t.typname, t.typtype, t.typrelid, "
        "pg_catalog.format_type(t.oid, CASE WHEN t.typtype = 'd' THEN -1 ELSE ",
        modifier, " END), t.typlen = -1 AND t.typstorage <> 'p' FROM (SELECT pg_catalog.pg_typeof(",
        value,
        ")::oid AS oid) found JOIN pg_catalog.pg_type t ON t.oid = found.oid "
        "JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace"));
    if (!type.ok()) return ExplainRuleError(type.status(), table, what);
    if (type->row_count() != 1) return absl::InternalError("an expression without a type");
    TableColumn column;
    column.name = listed.name;
    column.type_oid = static_cast<Oid>(type->GetInt(0, 0));
    column.type_schema = type->GetString(0, 1);
    column.type_name = type->GetString(0, 2);
    column.type_kind = type->Get(0, 3)[0];
    column.type_relid = static_cast<Oid>(type->GetInt(0, 4));
    column.type_text = type->GetString(0, 5);
    column.typmod = column.type_kind == 'd' ? -1 : modifier;
    column.is_toastable = type->GetBool(0, 6);
    if (column.type_kind == 'p') {
      return Refuse(table, absl::StrCat("column ", QuoteIdentifier(column.name),
                                        " would have the pseudo-type ", column.type_text));
    }
    if (!types_.has_value()) {
      TOWLINE_ASSIGN_OR_RETURN(types_, ReadTypeCatalog(source_));
    }
    column.base_type_oid = BaseTypeOf(*types_, column.type_oid);
    column.base = DomainBaseOf(*types_, column.type_oid);
    column.is_portable_binary = IsPortableBinary(*types_, column.type_oid);
    column.has_equality = HasEquality(*types_, column.type_oid);
    return column;
  }

  Connection& source_;
  const AssignmentCheck check_;
  std::optional<TypeCatalog> types_;
};

}  // namespace

const TableRule* FindRule(const TableRules& rules, const TableName& table,
                          const std::vector<TableName>& ancestors) {
  if (auto own = rules.find(table); own != rules.end()) return &own->second;
  for (const TableName& ancestor : ancestors) {
    if (auto above = rules.find(ancestor); above != rules.end()) return &above->second;
  }
  return nullptr;
}

const TableRule* FindRule(const TableRules& rules, const Table& table) {
  return FindRule(rules, table.name, table.ancestors);
}

std::string RulesJson(const TableRules& rules) {
  std::vector<std::string> objects;
  for (const auto& [name, rule] : rules) {
    objects.push_back(absl::StrCat("{\"schema\":", JsonString(name.schema),
                                   ",\"table\":", JsonString(name.name), MembersJson(rule), "}"));
  }
  return absl::StrCat("[", absl::StrJoin(objects, ","), "]");
}

std::string RuleText(const TableRule* rule) {
  if (rule == nullptr) return "";
  std::string members = MembersJson(*rule);
  if (!rule->shared.empty()) {
    absl::StrAppend(&members, kSharedMember, "{\"column\":", JsonString(rule->shared), kSharedValue,
                    JsonString(rule->shared_value), "}");
  }
  return members.empty() ? "" : absl::StrCat("{", members.substr(1), "}");
}

std::string SharedText(absl::string_view rule_text) {
  // In a name or an expression its quotes would be escaped.
  const size_t at = rule_text.find(kSharedMember);
  return at == absl::string_view::npos ? "" : std::string(rule_text.substr(at));
}

bool AreApart(absl::string_view rule_text, absl::string_view other_rule_text) {
  const std::string one = SharedText(rule_text);
  const std::string other = SharedText(other_rule_text);
  if (one.empty() || other.empty()) return false;
  auto column = [](absl::string_view text) { return text.substr(0, text.find(kSharedValue)); };
  return column(one) == column(other) && one != other;
}

std::string SharedCondition(const TableRule& rule, absl::string_view alias) {
  if (rule.shared.empty()) return "";
  return absl::StrCat(alias, QuoteIdentifier(rule.shared), " OPERATOR(pg_catalog.=) ",
                      QuoteLiteral(rule.shared_value));
}

std::string AsOperand(const std::string& expression) {
  return absl::StrCat("(\n", expression, "\n)");
}

std::string RuleValueSql(const TableColumn& column, const std::string& expression) {
  return absl::StrCat(AsOperand(expression), "::",
                      column.base_type_sql.empty()
                          ? QuoteQualified(column.type_schema, column.type_name)
                          : column.base_type_sql);
}

absl::StatusOr<std::vector<Table>> PublishTables(Connection& source, const TableRules& rules,
                                                 std::vector<Table> tables, AssignmentCheck check) {
  Publisher publisher(source, check);
  for (Table& table : tables) {
    const TableRule* rule = FindRule(rules, table);
    if (rule == nullptr) continue;
    TOWLINE_RETURN_IF_ERROR(publisher.Publish(*rule, &table));
  }
  return tables;
}

}  // namespace towline
