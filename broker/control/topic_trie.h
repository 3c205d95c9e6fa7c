#ifndef IVMQ_BROKER_CONTROL_TOPIC_TRIE_H_
#define IVMQ_BROKER_CONTROL_TOPIC_TRIE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ivmq::control {

// IDs under the topics or filters that they registered with, a level a token: what is asked for is
// found without a look at what has nothing to do with it. Text is validated by topic_name.h. What a
// search costs it says itself: the levels that it looked at. One thread.
class TopicTrie {
 public:
  // What a level takes, with what the allocator adds.
  static constexpr uint64_t kLevelBytes = 192;

  void Insert(std::string_view text, uint64_t id);
  void Erase(std::string_view text, uint64_t id);

  // Appends what is under `topic` itself and under each filter that it passes. Looks only at tokens
  // of those, each once.
  size_t FindFor(std::string_view topic, std::vector<uint64_t>* ids) const;
  // Appends what is under each topic that passes `filter`, or is `filter` if that is a topic.
  // REQUIRES: only topics were inserted.
  size_t FindPassing(std::string_view filter, std::vector<uint64_t>* ids) const;

  bool empty() const { return root_.children.empty(); }

 private:
  struct Level {
    std::map<std::string, std::unique_ptr<Level>, std::less<>> children;  // by token
    std::set<uint64_t> ids;                                               // of texts that end here
  };
  using Tokens = std::span<const std::string_view>;

  static const Level* Child(const Level& level, std::string_view token);
  static size_t FindFor(const Level& level, Tokens topic, std::vector<uint64_t>* ids);
  static size_t FindPassing(const Level& level, Tokens filter, std::vector<uint64_t>* ids);
  static size_t AppendAll(const Level& level, std::vector<uint64_t>* ids);
  static void Erase(Level* level, Tokens text, uint64_t id);

  Level root_;
};

}  // namespace ivmq::control

#endif  // IVMQ_BROKER_CONTROL_TOPIC_TRIE_H_
