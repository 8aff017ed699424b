// What may be asked of a table in which state, and how it is shown.
#include "state/table_request.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/error.h"

namespace towline {
namespace {

const TableName kTable = {"public", "a"};

PieceRow PieceIn(const std::string& state) {
  PieceRow piece;
  piece.table = kTable;
  piece.state = state;
  return piece;
}

TEST(TableRequestTest, EachStateAllowsWhatLeadsOutOfIt) {
  const std::map<std::string, std::set<std::string>> allowed = {
      {"copied", {"park", "recopy", "remove"}},
      {"streamed", {"park", "recopy", "remove"}},
      {"parked", {"rejoin", "recopy", "remove"}},
      {"joining", {"park", "remove"}},
      {"removed", {"add"}}};
  for (const auto& [state, actions] : allowed) {
    const PieceRow piece = PieceIn(state);
    for (const char* action : {"park", "rejoin", "recopy", "add", "remove"}) {
      absl::Status checked = CheckTableRequest(kTable, action, &piece);
      EXPECT_EQ(checked.ok(), actions.contains(action)) << state << " " << action;
      EXPECT_EQ(ExitCode(checked), checked.ok() ? 0 : 3) << checked;
    }
  }
}

TEST(TableRequestTest, OfAnUnknownTableOnlyThatItIsAdded) {
  EXPECT_TRUE(CheckTableRequest(kTable, "add", nullptr).ok());
  for (const char* action : {"park", "rejoin", "recopy", "remove", "lose"}) {
    absl::Status checked = CheckTableRequest(kTable, action, nullptr);
    EXPECT_EQ(ExitCode(checked), 2) << action;
    EXPECT_FALSE(GetHint(checked).empty());
  }
}

TEST(TableRequestTest, NotesNameWhatIsAskedRefusedAndOut) {
  PieceRow parked = PieceIn("parked");
  parked.reason = "asked for";
  const std::vector<TableNote> notes =
      NotesOf({parked, PieceIn("copied")},
              {{1, kTable, "rejoin", ""}, {2, {"public", "b"}, "add", std::string(1000, 'x')}});
  ASSERT_EQ(notes.size(), 3u);
  EXPECT_EQ(notes[0].state, "asked");
  EXPECT_EQ(notes[0].text, "rejoin");
  EXPECT_EQ(notes[1].state, "refused");
  EXPECT_LE(notes[1].text.size(), 400u);
  EXPECT_EQ(notes[2].state, "parked");
  EXPECT_EQ(notes[2].text, "asked for");
}

}  // namespace
}  // namespace towline
