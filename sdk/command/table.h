#ifndef IVMQ_SDK_COMMAND_TABLE_H_
#define IVMQ_SDK_COMMAND_TABLE_H_

#include <cstddef>
#include <string>
#include <vector>

namespace ivmq::command {

// A table for people: aligned columns, two blanks between them. What a terminal has no room for is
// cut with an ellipsis, the widest column first.
class Table {
 public:
  enum class Align { kLeft, kRight };
  struct Column {
    std::string title;
    Align align = Align::kLeft;
  };

  explicit Table(std::vector<Column> columns);

  // REQUIRES: as many cells as columns. Characters that would break a line become '?'.
  void Add(std::vector<std::string> cells);
  // One element a line, the titles first, no line wider than `width_max` characters.
  // REQUIRES: width_max takes the titles.
  std::vector<std::string> Lines(size_t width_max) const;
  // As wide as the terminal on stdout is, and whole where that is none: grep shall find what it
  // looks for.
  void Print() const;

 private:
  std::vector<size_t> Widths(size_t width_max) const;

  const std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_TABLE_H_
