#include "sdk/command/table.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "sdk/command/output.h"

namespace ivmq::command {
namespace {

constexpr size_t kNarrowest = 100;  // in a smaller window lines wrap: better than no names
constexpr size_t kGap = 2;

bool StartsCharacter(char byte) { return (static_cast<unsigned char>(byte) & 0xc0) != 0x80; }

// Characters of UTF-8.
size_t WidthOf(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), StartsCharacter));
}

std::string Cut(const std::string& text, size_t width) {
  if (WidthOf(text) <= width) return text;
  std::string cut;
  size_t characters = 0;
  for (const char byte : text) {
    if (StartsCharacter(byte) && ++characters == width) break;
    cut += byte;
  }
  return cut + "…";
}

std::string Pad(const std::string& text, size_t width, Table::Align align) {
  const std::string blanks(width - WidthOf(text), ' ');
  return align == Table::Align::kLeft ? text + blanks : blanks + text;
}

size_t WidthOfOutput() {
  if (::isatty(STDOUT_FILENO) == 0) return std::numeric_limits<size_t>::max();
  winsize window{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) != 0) return kNarrowest;
  return std::max<size_t>(kNarrowest, window.ws_col);
}

}  // namespace

Table::Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

void Table::Add(std::vector<std::string> cells) {
  for (std::string& cell : cells) {
    if (!IsPrintableUtf8(cell)) {
      std::replace_if(
          cell.begin(), cell.end(), [](char c) { return c < 0x20 || c == 0x7f; }, '?');
    }
  }
  rows_.push_back(std::move(cells));
}

std::vector<size_t> Table::Widths(size_t width_max) const {
  std::vector<size_t> widths;
  for (size_t i = 0; i < columns_.size(); ++i) {
    size_t width = WidthOf(columns_[i].title);
    for (const auto& row : rows_) width = std::max(width, WidthOf(row[i]));
    widths.push_back(width);
  }
  const size_t gaps = kGap * (columns_.size() - 1);
  while (std::accumulate(widths.begin(), widths.end(), gaps) > width_max) {
    --*std::max_element(widths.begin(), widths.end());
  }
  return widths;
}

std::vector<std::string> Table::Lines(size_t width_max) const {
  const std::vector<size_t> widths = Widths(width_max);
  const auto line = [&](const auto& cell) {
    std::string text;
    for (size_t i = 0; i < columns_.size(); ++i) {
      if (i > 0) text.append(kGap, ' ');
      text += Pad(Cut(cell(i), widths[i]), widths[i], columns_[i].align);
    }
    text.erase(text.find_last_not_of(' ') + 1);
    return text;
  };
  std::vector<std::string> lines{line([&](size_t i) { return columns_[i].title; })};
  for (const auto& row : rows_) lines.push_back(line([&](size_t i) { return row[i]; }));
  return lines;
}

void Table::Print() const {
  for (const std::string& line : Lines(WidthOfOutput())) PrintLine(line);
}

}  // namespace ivmq::command
