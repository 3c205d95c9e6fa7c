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

void TopicTrie::FindFor(std::string_view topic, std::vector<uint64_t>* ids) const {
  FindFor(root_, SplitTopic(topic), ids);
}

void TopicTrie::FindFor(const Level& level, Tokens topic, std::vector<uint64_t>* ids) {
  if (topic.empty()) {
    ids->insert(ids->end(), level.ids.begin(), level.ids.end());
    return;
  }
  if (const Level* rest = Child(level, kRest)) {
    ids->insert(ids->end(), rest->ids.begin(), rest->ids.end());
  }
  for (const std::string_view token : {topic[0], kAnyToken}) {
    if (const Level* child = Child(level, token)) FindFor(*child, topic.subspan(1), ids);
  }
}

void TopicTrie::FindPassing(std::string_view filter, std::vector<uint64_t>* ids) const {
  FindPassing(root_, SplitTopic(filter), ids);
}

void TopicTrie::FindPassing(const Level& level, Tokens filter, std::vector<uint64_t>* ids) {
  if (filter.empty()) {
    ids->insert(ids->end(), level.ids.begin(), level.ids.end());
  } else if (filter[0] == kRest) {
    for (const auto& [token, child] : level.children) AppendAll(*child, ids);
  } else if (filter[0] == kAnyToken) {
    for (const auto& [token, child] : level.children) {
      FindPassing(*child, filter.subspan(1), ids);
    }
  } else if (const Level* child = Child(level, filter[0])) {
    FindPassing(*child, filter.subspan(1), ids);
  }
}

void TopicTrie::AppendAll(const Level& level, std::vector<uint64_t>* ids) {
  ids->insert(ids->end(), level.ids.begin(), level.ids.end());
  for (const auto& [token, child] : level.children) AppendAll(*child, ids);
}

}  // namespace ivmq::control
