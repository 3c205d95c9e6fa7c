#include "broker/control/topic_trie.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "broker/control/topic_name.h"

namespace ivmq::control {
namespace {

using Ids = std::vector<uint64_t>;

Ids For(const TopicTrie& trie, std::string_view topic) {
  Ids ids;
  trie.FindFor(topic, &ids);
  std::sort(ids.begin(), ids.end());
  return ids;
}

Ids Passing(const TopicTrie& trie, std::string_view filter) {
  Ids ids;
  trie.FindPassing(filter, &ids);
  std::sort(ids.begin(), ids.end());
  return ids;
}

TEST(TopicTrieTest, FindsTheFiltersThatATopicPasses) {
  TopicTrie trie;
  const char* filters[] = {"camera.front", "camera.*", "camera.>", ">",   "*",
                           "*.front",      "*.*",      "camera",   "*.>", "camera.*.raw"};
  for (uint64_t i = 0; i < std::size(filters); ++i) trie.Insert(filters[i], i);
  EXPECT_EQ(For(trie, "camera.front"), (Ids{0, 1, 2, 3, 5, 6, 8}));
  EXPECT_EQ(For(trie, "camera"), (Ids{3, 4, 7}));  // `>` is one token or more, never none
  EXPECT_EQ(For(trie, "camera.front.raw"), (Ids{2, 3, 8, 9}));
  EXPECT_EQ(For(trie, "lidar.top"), (Ids{3, 6, 8}));
}

TEST(TopicTrieTest, FindsTheTopicsThatAFilterLetsPass) {
  TopicTrie trie;
  const char* topics[] = {"camera", "camera.front", "camera.rear", "camera.front.raw", "lidar.top"};
  for (uint64_t i = 0; i < std::size(topics); ++i) trie.Insert(topics[i], i);
  EXPECT_EQ(Passing(trie, "camera"), (Ids{0}));
  EXPECT_EQ(Passing(trie, "camera.*"), (Ids{1, 2}));
  EXPECT_EQ(Passing(trie, "camera.>"), (Ids{1, 2, 3}));
  EXPECT_EQ(Passing(trie, ">"), (Ids{0, 1, 2, 3, 4}));
  EXPECT_EQ(Passing(trie, "*.*"), (Ids{1, 2, 4}));
  EXPECT_EQ(Passing(trie, "*.front.>"), (Ids{3}));
  EXPECT_EQ(Passing(trie, "sonar.>"), (Ids{}));
}

TEST(TopicTrieTest, KeepsNothingOfWhatWasErased) {
  TopicTrie trie;
  trie.Insert("a.b.c", 1);
  trie.Insert("a.b.c", 2);
  trie.Insert("a.b", 3);
  trie.Erase("a.b.c", 1);
  trie.Erase("a.b.c", 7);    // not there
  trie.Erase("a.b.c.d", 2);  // nor that text
  EXPECT_EQ(For(trie, "a.b.c"), (Ids{2}));
  trie.Erase("a.b.c", 2);
  EXPECT_EQ(For(trie, "a.b"), (Ids{3}));
  trie.Erase("a.b", 3);
  EXPECT_TRUE(trie.empty());
}

TEST(TopicTrieTest, TakesAsManyTokensAsATopicCanHave) {
  std::string topic = "a";
  while (topic.size() + 2 <= kMaxTopicBytes) topic += ".a";
  std::string filter = topic;
  std::replace(filter.begin(), filter.end(), 'a', '*');
  TopicTrie trie;
  trie.Insert(topic, 1);
  trie.Insert(filter, 2);
  EXPECT_EQ(For(trie, topic), (Ids{1, 2}));
  trie.Erase(topic, 1);
  trie.Erase(filter, 2);
  EXPECT_TRUE(trie.empty());
}

// What a filter lets pass, said without a trie.
bool Passes(const std::vector<std::string_view>& topic,
            const std::vector<std::string_view>& filter) {
  for (size_t i = 0; i < filter.size(); ++i) {
    if (filter[i] == ">") return topic.size() > i;
    if (i >= topic.size()) return false;
    if (filter[i] != "*" && filter[i] != topic[i]) return false;
  }
  return topic.size() == filter.size();
}

TEST(TopicTrieTest, AgreesWithLookingAtEachPair) {
  const uint32_t seed = std::random_device()();
  std::printf("seed %u\n", seed);
  std::mt19937 random(seed);
  const auto text = [&](bool filter) {
    std::string made;
    for (int left = 1 + static_cast<int>(random() % 4); left > 0; --left) {
      const uint32_t kind = filter ? random() % 5 : 2;
      if (!made.empty()) made += '.';
      if (kind == 0 && left == 1) return made + ">";
      made += kind == 1 ? '*' : static_cast<char>('a' + random() % 3);
    }
    return made;
  };
  TopicTrie topics;
  TopicTrie filters;
  std::map<uint64_t, std::string> topic_of;
  std::map<uint64_t, std::string> filter_of;
  for (uint64_t id = 1; id <= 2000; ++id) {
    const bool filter = random() % 2 == 0;
    auto& known = filter ? filter_of : topic_of;
    TopicTrie& trie = filter ? filters : topics;
    if (known.size() > 100) {
      trie.Erase(known.begin()->second, known.begin()->first);
      known.erase(known.begin());
    }
    trie.Insert(known[id] = text(filter), id);
    const std::string& made = known[id];
    Ids expected;
    for (const auto& [other_id, other] : filter ? topic_of : filter_of) {
      const std::string& topic = filter ? other : made;
      const std::string& against = filter ? made : other;
      if (Passes(SplitTopic(topic), SplitTopic(against))) expected.push_back(other_id);
    }
    ASSERT_EQ(filter ? Passing(topics, made) : For(filters, made), expected) << made;
  }
}

// What it costs is counted in levels, which is the same on every machine.
TEST(TopicTrieTest, LooksAtNothingOfATopicOrFilterThatHasNothingToDoWithIt) {
  TopicTrie filters;
  for (const char* filter : {"plant.7.sensor.7", "plant.7.>", "plant.*.sensor.7", "*.*.*.7", ">"}) {
    filters.Insert(filter, 1);
  }
  TopicTrie topics;
  for (const char* topic : {"plant.7.sensor.7", "plant.7.sensor.107"}) topics.Insert(topic, 1);
  Ids before;
  const size_t for_topic = filters.FindFor("plant.7.sensor.7", &before);
  const size_t for_filter = topics.FindPassing("plant.7.>", &before);
  EXPECT_EQ(before.size(), 5u + 2u);
  for (int i = 0; i < 1000; ++i) {
    const std::string number = std::to_string(i + 1000);
    const std::string kinds[] = {"plant." + number + ".>", "plant.*.sensor." + number,
                                 "*.*.*." + number, "plant." + number + ".*.*"};
    filters.Insert(kinds[i % 4], 2);
  }
  for (int i = 0; i < 10'000; ++i) {
    const std::string number = std::to_string(i + 1000);
    filters.Insert("plant." + number + ".sensor." + number, 2);
    topics.Insert("plant." + number + ".sensor." + number, 2);
  }
  Ids after;
  EXPECT_EQ(filters.FindFor("plant.7.sensor.7", &after), for_topic);
  EXPECT_EQ(topics.FindPassing("plant.7.>", &after), for_filter);
  EXPECT_EQ(after, before);
  // At most two ways from each level, and a `>` beside them.
  EXPECT_LE(for_topic, 2u * ((1u << 5) - 1));
}

}  // namespace
}  // namespace ivmq::control
