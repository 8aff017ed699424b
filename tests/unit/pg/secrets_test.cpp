#include "pg/secrets.h"

#include "gtest/gtest.h"

namespace towline {
namespace {

TEST(SecretsTest, FindsThemInBothForms) {
  EXPECT_EQ(MaskSecrets("postgresql://u:secret@h:5432/db"), "postgresql://u:***@h:5432/db");
  EXPECT_EQ(MaskSecrets("postgres://u:a@b@h/db"), "postgres://u:***@h/db");
  EXPECT_EQ(MaskSecrets("postgresql://h/db?user=u&password=secret&sslmode=require"),
            "postgresql://h/db?user=u&password=***&sslmode=require");
  EXPECT_EQ(MaskSecrets("postgresql://h/db?sslpassword=s"), "postgresql://h/db?sslpassword=***");
  EXPECT_EQ(MaskSecrets("host=h password=secret user=u"), "host=h password=*** user=u");
  EXPECT_EQ(MaskSecrets("host=h password = 'two words' user=u"), "host=h password = *** user=u");
  EXPECT_EQ(MaskSecrets(R"(password='it\'s one' user=u)"), "password=*** user=u");
  EXPECT_EQ(MaskSecrets("PASSWORD=secret"), "PASSWORD=***");
}

TEST(SecretsTest, LeavesTheRestAlone) {
  for (const char* text :
       {"postgresql://u@h:5432/db", "host=h user=u dbname=password", "", "postgresql://h:5432/db",
        "password", "dbname=x passfile=/home/u/.pgpass"}) {
    EXPECT_EQ(MaskSecrets(text), text);
  }
}

TEST(SecretsTest, StringsThatAreCutShortDoNotOverrun) {
  EXPECT_EQ(MaskSecrets("password='open"), "password=***");
  EXPECT_EQ(MaskSecrets("password=a\\"), "password=***");
  EXPECT_EQ(MaskSecrets("password="), "password=");
  EXPECT_EQ(MaskSecrets("postgresql://u:@h"), "postgresql://u:@h");
}

}  // namespace
}  // namespace towline
