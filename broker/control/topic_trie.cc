#include "broker/control/topic_trie.h"

#include "broker/control/topic_name.h"

// No recursion is deeper than a topic has tokens: 128, as each takes two of its 255 bytes.

namespace ivmq::control {

const TopicTrie::Level* TopicTrie::Child(const Level& level, std::string_view token) {
  const auto found = level.children.find(token);
  return found == level.children.end() ? nullptr : found->second.get();
}

void TopicTrie::Insert(std::string_view text, uint64_t id) {
  Level* level = &root_;
  for (const std::string_view token : SplitTopic(text)) {
    auto found = level->children.find(token);
    if (found == level->children.end()) {
      found = level->children.emplace(token, std::make_unique<Level>()).first;
    }
    level = found->second.get();
  }
  level->ids.insert(id);
}

void TopicTrie::Erase(std::string_view text, uint64_t id) { Erase(&root_, SplitTopic(text), id); }

void TopicTrie::Erase(Level* level, Tokens text, uint64_t id) {
  if (text.empty()) {
    level->ids.erase(id);
    return;
  }
  const auto found = level->children.find(text[0]);
  if (found == level->children.end()) return;
  Level* child = found->second.get();
  Erase(child, text.subspan(1), id);
  if (child->ids.empty() && child->children.empty()) level->children.erase(found);
}

size_t TopicTrie::FindFor(std::string_view topic, std::vector<uint64_t>* ids) const {
  return FindFor(root_, SplitTopic(topic), ids);
}

size_t TopicTrie::FindFor(const Level& level, Tokens topic, std::vector<uint64_t>* ids) {
  size_t looked = 1;
  if (topic.empty()) {
    ids->insert(ids->end(), level.ids.begin(), level.ids.end());
    return looked;
  }
  if (const Level* rest = Child(level, kRest)) {
    ids->insert(ids->end(), rest->ids.begin(), rest->ids.end());
    ++looked;
  }
  for (const std::string_view token : {topic[0], kAnyToken}) {
    if (const Level* child = Child(level, token)) looked += FindFor(*child, topic.subspan(1), ids);
  }
  return looked;
}

size_t TopicTrie::FindPassing(std::string_view filter, std::vector<uint64_t>* ids) const {
  return FindPassing(root_, SplitTopic(filter), ids);
}

size_t TopicTrie::FindPassing(const Level& level, Tokens filter, std::vector<uint64_t>* ids) {
  size_t looked = 1;
  if (filter.empty()) {
    ids->insert(ids->end(), level.ids.begin(), level.ids.end());
  } else if (filter[0] == kRest) {
    for (const auto& [token, child] : level.children) looked += AppendAll(*child, ids);
  } else if (filter[0] == kAnyToken) {
    for (const auto& [token, child] : level.children) {
      looked += FindPassing(*child, filter.subspan(1), ids);
    }
  } else if (const Level* child = Child(level, filter[0])) {
    looked += FindPassing(*child, filter.subspan(1), ids);
  }
  return looked;
}

size_t TopicTrie::AppendAll(const Level& level, std::vector<uint64_t>* ids) {
  size_t looked = 1;
  ids->insert(ids->end(), level.ids.begin(), level.ids.end());
  for (const auto& [token, child] : level.children) looked += AppendAll(*child, ids);
  return looked;
}

}  // namespace ivmq::control
