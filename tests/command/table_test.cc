#include "sdk/command/table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "sdk/command/tables.h"

namespace ivmq::command {
namespace {

using testing::AllOf;
using testing::HasSubstr;

size_t Characters(const std::string& text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

TEST(TableTest, AlignsColumns) {
  Table table({{"ID", Table::Align::kRight}, {"NAME"}, {"X"}});
  table.Add({"1", "one", "a"});
  table.Add({"100", "gr\xc3\xbc\xc3\x9f", "b"});
  EXPECT_EQ(table.Lines(100), (std::vector<std::string>{" ID  NAME  X", "  1  one   a",
                                                        "100  gr\xc3\xbc\xc3\x9f  b"}));
}

TEST(TableTest, HasItsTitlesWhenItIsEmpty) {
  const Table table({{"ID"}, {"NAME"}});
  EXPECT_EQ(table.Lines(100), std::vector<std::string>{"ID  NAME"});
}

TEST(TableTest, FillsItsWidthAndNoMore) {
  Table exact({{"A"}, {"B"}});
  exact.Add({std::string(49, 'a'), std::string(49, 'b')});
  EXPECT_EQ(exact.Lines(100)[1], std::string(49, 'a') + "  " + std::string(49, 'b'));

  Table wide({{"A"}, {"B"}, {"C"}});
  wide.Add({std::string(300, 'a'), "short", std::string(80, 'c')});
  for (const std::string& line : wide.Lines(100)) EXPECT_LE(Characters(line), 100U);
  EXPECT_NE(wide.Lines(100)[1].find("short"), std::string::npos);
  EXPECT_NE(wide.Lines(100)[1].find("…"), std::string::npos);
  EXPECT_EQ(wide.Lines(389)[1], std::string(300, 'a') + "  short  " + std::string(80, 'c'));
}

TEST(TableTest, LetsNoCellBreakALine) {
  Table table({{"A"}});
  table.Add({"evil\n\x1b[31m"});
  EXPECT_EQ(table.Lines(100)[1], "evil??[31m");
}

TEST(RealmTroublesTest, SaysWhoWasRefusedAndWhatToDo) {
  v1::Realm realm;
  EXPECT_EQ(RealmTroubles(realm), "");
  realm.set_name("blue");
  realm.set_refused_ids_exhausted(3);
  EXPECT_THAT(RealmTroubles(realm), AllOf(HasSubstr("3 VMs refused"), HasSubstr("65535 IDs")));
  realm.set_refused_too_many_peers(4);
  EXPECT_THAT(RealmTroubles(realm), AllOf(HasSubstr("3 VMs refused"), HasSubstr("4 VMs refused")));
  EXPECT_THAT(RealmTroubles(realm), Not(HasSubstr("evicted")));
  realm.set_refused_table_of_evicted(5);
  EXPECT_THAT(RealmTroubles(realm), HasSubstr("5 VMs refused: evicted VMs take places"));
  realm.set_refused_ids_exhausted(1);
  EXPECT_THAT(RealmTroubles(realm), HasSubstr("realm blue: 1 VM refused"));
}

}  // namespace
}  // namespace ivmq::command
