#ifndef IVMQ_SDK_COMMAND_TABLE_H_
#define IVMQ_SDK_COMMAND_TABLE_H_

#include <cstddef>
#include <string>
#include <vector>

namespace ivmq::command {

// A table for people: aligned columns, two blanks between them, at most 100 characters wide. What
// does not fit is cut with an ellipsis, the widest column first.
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
  // One element a line, the titles first.
  std::vector<std::string> Lines() const;
  void Print() const;

 private:
  std::vector<size_t> Widths() const;

  const std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_TABLE_H_
