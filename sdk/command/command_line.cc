#include "sdk/command/command_line.h"

#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sdk/command/bench_flags.h"
#include "sdk/command/help_texts.h"
#include "sdk/command/number_check.h"
#include "sdk/command/output.h"
#include "sdk/command/ring_size.h"
#include "transport/region.h"

namespace ivmq::command {
namespace {

constexpr double kSecondsMax = 1e9;  // fits a count of nanoseconds
constexpr double kRateMinHz = 0.001;
constexpr double kRateMaxHz = 1e9;
constexpr double kEverySecondsMin = 0.01;
constexpr uint64_t kSizeMaxBytes = kMessageBytesMax;
constexpr uint32_t kMessagesMax = 65536;  // of a history, or kept

std::string CommandsOf(const CLI::App& app) {
  std::string names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    names += (names.empty() ? "" : ", ") + command->get_name();
  }
  return names;
}

// A number of seconds, with fractions.
std::chrono::nanoseconds Seconds(double seconds) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
      std::chrono::duration<double>(seconds));
}

// Builds the parser; owns what CLI11 writes to until Take() turns it into a CommandLine.
class Parser {
 public:
  Parser() : app_("Publishes, subscribes, looks at a realm and diagnoses it.", "ivmq") {
    app_.set_version_flag("--version", "ivmq " IVMQ_VERSION);
    app_.require_subcommand(1);
    app_.fallthrough();  // --json and the sockets may stand anywhere
    app_.footer(kFooter);
    app_.add_option("--admin-socket", line_.admin_socket,
                    "of ivmqd, on the host (default /run/ivmq/admin.sock for root, else "
                    "$XDG_RUNTIME_DIR/ivmq/admin.sock)")
        ->envname("IVMQ_ADMIN_SOCKET");
    app_.add_option("--node-socket", line_.node_socket,
                    "of ivmqd, or of ivmq-agent in a guest (default /run/ivmq/node.sock, or "
                    "$XDG_RUNTIME_DIR/ivmq/node.sock)")
        ->envname("IVMQ_NODE_SOCKET");
    app_.add_flag("--json", line_.json, "one JSON object a line, for programs");
    AddPub();
    AddSub();
    AddRequest();
    AddReply();
    AddLists();
    AddWatch();
    AddEvict();
    AddBench(&app_, &line_);
    Add("doctor", "checks daemon, device, region and machine, and says what to mend",
        Subcommand::kDoctor);
    app_.add_subcommand("version", "prints the version")->callback([this] { version_ = true; });
    app_.add_subcommand("help", "prints this help, or that of a command")
        ->callback([this] { help_ = true; })
        ->add_option("COMMAND", help_of_, "of this one, as `help bench serve`");
  }

  bool Parse(int argc, char** argv, CommandLine* line, int* exit_code) {
    std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
    bool takes_message = false;
    for (size_t i = 0; i < words.size() && words[i] != "--"; ++i) {
      takes_message = takes_message || words[i] == "request" || words[i] == "reply";
      if (!takes_message) continue;
      // An empty message and none are the same to CLI11. A blank is as little JSON, and is seen.
      if (words[i] == "--json=" || (words[i].empty() && words[i - 1] == "--json")) words[i] += ' ';
    }
    std::reverse(words.begin(), words.end());  // as CLI11 wants it
    try {
      app_.parse(std::move(words));
    } catch (const CLI::ParseError& error) {
      const bool asked = error.get_exit_code() == 0;  // for help or the version
      if (asked) {
        app_.exit(error);
      } else {
        Complain(Explain(error));
      }
      *exit_code = asked ? kDone : kMisused;
      return false;
    }
    if (version_) {
      PrintLine(line_.json ? "{\"version\":\"" IVMQ_VERSION "\"}" : "ivmq " IVMQ_VERSION);
      *exit_code = kDone;
      return false;
    }
    if (help_) {
      *exit_code = PrintHelp();
      return false;
    }
    if (!Take()) {
      *exit_code = kMisused;
      return false;
    }
    *line = std::move(line_);
    return true;
  }

 private:
  // What is wrong, in which command, and where it says what is right.
  std::string Explain(const CLI::ParseError& error) const {
    const CLI::App* app = &app_;
    std::string path = "ivmq";
    while (!app->get_subcommands().empty()) {
      app = app->get_subcommands().front();
      path += " " + app->get_name();
    }
    std::string what = error.what();
    // CLI11 names them backwards, and what follows a flag that it does not know as well.
    if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::ExtrasError)) {
      what = fmt::format("'{}' is not expected", app_.remaining(true).front());
    }
    if (app->get_require_subcommand_min() > 0) {
      std::string given;  // the first word that should have been a command
      for (const std::string& word : app_.remaining(true)) {
        if (word.empty() || word.front() == '-') continue;
        given = word;
        break;
      }
      what = given.empty()
                 ? "which command? There are " + CommandsOf(*app)
                 : fmt::format("there is no command '{}', but {}", given, CommandsOf(*app));
    }
    return fmt::format("{}; see `{} --help`", what, path);
  }

  int PrintHelp() {
    const CLI::App* app = &app_;
    std::string path = "ivmq";
    for (const std::string& word : help_of_) {
      const auto named =
          app->get_subcommands([&](const CLI::App* one) { return one->get_name() == word; });
      if (named.empty()) {
        const std::string commands = CommandsOf(*app);
        Complain(fmt::format("there is no command '{}'{}{}", word,
                             commands.empty() ? fmt::format(" of `{}`", path) : ", but ",
                             commands));
        return kMisused;
      }
      app = named.front();
      path += " " + word;
    }
    // App::help() would be that of the command that was given, which is this one.
    std::string help = app->get_formatter()->make_help(app, path, CLI::AppFormatMode::Normal);
    while (help.ends_with('\n')) help.pop_back();
    PrintLine(help);
    return kDone;
  }

  CLI::App* Add(const std::string& name, const std::string& what, Subcommand subcommand) {
    return app_.add_subcommand(name, what)->callback([this, subcommand] {
      line_.subcommand = subcommand;
    });
  }

  template <class Number>
  static CLI::Option* AddNumber(CLI::App* app, const char* name, std::optional<Number>* target,
                                const std::string& what) {
    return app->add_option_function<Number>(
        name, [target](const Number& given) { *target = given; }, what);
  }
  static CLI::Option* AddSeconds(CLI::App* app, const char* name,
                                 std::function<void(std::chrono::nanoseconds)> take,
                                 const std::string& what) {
    return app
        ->add_option_function<double>(
            name, [take = std::move(take)](const double& given) { take(Seconds(given)); }, what)
        ->check(Within(0.0, kSecondsMax));
  }
  static void ExcludeEachOther(const std::vector<CLI::Option*>& options) {
    for (CLI::Option* one : options) {
      for (CLI::Option* other : options) {
        if (one != other) one->excludes(other);
      }
    }
  }
  static CLI::Option* AddText(CLI::App* app, const char* name, std::optional<std::string>* target,
                              const std::string& what) {
    return app->add_option_function<std::string>(
        name, [target](const std::string& given) { *target = given; }, what);
  }
  static void AddDescriptors(CLI::App* app, std::string* target) {
    app->add_option("--descriptors", *target,
                    "file with a FileDescriptorSet, as `protoc --include_imports -o FILE` writes "
                    "it (default: what the realm knows)");
  }

  // With a message behind it, that is what is sent; without one, the flag that all commands have.
  CLI::Option* AddJson(CLI::App* app, std::optional<std::string>* message,
                       const std::string& what) {
    const auto take = [this, message](const std::string& given) {
      if (given.empty()) {
        line_.json = true;
      } else {
        *message = given;
      }
    };
    return app->add_option_function<std::string>("--json", take, what)->expected(0, 1);
  }

  // What is sent, but for JSON: options of which one may be given.
  static std::vector<CLI::Option*> AddPayload(CLI::App* app, Payload* payload) {
    std::vector<CLI::Option*> sources{
        AddText(app, "MESSAGE", &payload->text, "the message, as text"),
        app->add_option("--file", payload->file,
                        "the file's content is the message; - for the standard input"),
        app->add_flag("--stdin", payload->lines, "each line of the standard input is a message")};
    AddDescriptors(app, &payload->descriptors);
    return sources;
  }

  void AddPub() {
    CLI::App* pub = Add("pub", "publishes messages", Subcommand::kPub);
    PubOptions* const options = &line_.pub;
    pub->footer(kPubFooter);
    pub->add_option("TOPIC", options->topic, "tokens by dots, no wildcards")->required();
    std::vector<CLI::Option*> sources = AddPayload(pub, &options->payload);
    // For a summary in JSON the flag stands before the command; here a message has to follow.
    sources.push_back(AddText(pub, "--json", &options->payload.json, kJsonMessage));
    sources.push_back(AddText(pub, "--data", &options->payload.text, "the same as MESSAGE"));
    ExcludeEachOther(sources);
    pub->add_option("--type", options->payload.type_name,
                    "full protobuf type name of the messages (default: bytes without a type; with "
                    "--json the one that the topic has)");
    AddNumber(pub, "--count", &options->count, "how many messages (default 1, or all lines)")
        ->check(Counted(1));
    AddNumber(pub, "--rate", &options->rate_hz, "messages a second (default: as fast as it goes)")
        ->check(Within(kRateMinHz, kRateMaxHz));
    CLI::Option* size =
        AddNumber(pub, "--size", &options->size_bytes,
                  "repeats or cuts the message to so many bytes (default: as it is)")
            ->check(Within(uint64_t{0}, kSizeMaxBytes));
    for (CLI::Option* source : {sources[2], sources[3]}) size->excludes(source);
    pub->add_option("--history", options->history,
                    "keeps so many messages for subscribers that come late (default 0)")
        ->check(Within(uint32_t{0}, kMessagesMax));
    pub->add_flag("--timestamps", options->timestamps,
                  "messages say when they were published, for `ivmq sub --latency`");
    pub->add_option("--wait", options->wait_subscribers,
                    "publishes only when there are so many subscribers (default 0)")
        ->check(Within(uint32_t{0}, std::numeric_limits<uint32_t>::max()));
    AddSeconds(
        pub, "--timeout", [options](auto given) { options->timeout = given; },
        "seconds to wait for subscribers, and for room in a link (default 5)");
  }

  void AddSub() {
    CLI::App* sub = Add("sub", "prints messages as they come, each on a line", Subcommand::kSub);
    SubOptions* const options = &line_.sub;
    sub->footer(kSubFooter);
    sub->add_option("TOPIC", options->topic, "tokens by dots; * for one token, a last > for more")
        ->required();
    AddNumber(sub, "--count", &options->count, "ends after so many messages")->check(Counted(1));
    AddSeconds(
        sub, "--timeout", [options](auto given) { options->timeout = given; },
        "ends after so many seconds; with --count and fewer messages that is a failure (status 1)");
    sub->add_option("--history", options->history,
                    "first the last so many messages that each publisher kept (default 0)")
        ->check(Within(uint32_t{0}, kMessagesMax));
    ExcludeEachOther(
        {AddNumber(sub, "--keep-last", &options->keep_last,
                   "holds the last so many messages of each publisher, which never waits for us; "
                   "older ones are lost and counted (default 16, or what --history asks for)")
             ->check(Within(uint32_t{1}, kMessagesMax)),
         sub->add_flag("--drop-newest", options->drop_newest,
                       "loses what comes while there is no room; publishers never wait"),
         sub->add_flag("--reliable", options->reliable,
                       "loses nothing: publishers wait for us, or fail")});
    AddDescriptors(sub, &options->descriptors);
    CLI::Option* latency =
        sub->add_flag("--latency", options->latency,
                      "instead of messages, how long they were on the way (of publishers with "
                      "timestamps): at the end, and meanwhile on a terminal or with --json");
    AddSeconds(
        sub, "--every", [options](auto given) { options->every = given; },
        "seconds between figures of --latency (default 5)")
        ->check(Within(kEverySecondsMin, kSecondsMax))
        ->needs(latency);
  }

  void AddRequest() {
    CLI::App* request =
        Add("request", "asks a service and prints its reply, or replies, each on a line",
            Subcommand::kRequest);
    RequestOptions* const options = &line_.request;
    request->footer(kRequestFooter);
    request->add_option("SERVICE", options->service, "tokens by dots, no wildcards")->required();
    ExcludeEachOther(AddPayload(request, &options->payload));
    AddJson(request, &options->payload.json, kJsonMessage);
    request->add_option("--type", options->payload.type_name,
                        "full protobuf type name of the request (default: bytes without a type; "
                        "with --json the one that the service takes)");
    AddNumber(request, "--count", &options->count,
              "how many requests, one after the other (default 1, or all lines)")
        ->check(Counted(1));
    request
        ->add_option("--wait", options->wait_servers,
                     "asks only when there are so many servers (default 0)")
        ->check(Within(uint32_t{0}, std::numeric_limits<uint32_t>::max()));
    AddSeconds(
        request, "--timeout", [options](auto given) { options->timeout = given; },
        "seconds that servers may take to come, and each request until its last reply (default 5)");
  }

  void AddReply() {
    CLI::App* reply = Add("reply", "serves a service and prints the requests, each on a line",
                          Subcommand::kReply);
    ReplyOptions* const options = &line_.reply;
    reply->footer(kReplyFooter);
    reply->add_option("SERVICE", options->service, "tokens by dots, no wildcards")->required();
    ExcludeEachOther(
        {AddText(reply, "MESSAGE", &options->payload.text, "the reply, as text"),
         reply->add_flag("--echo", options->echo, "the reply is the request"),
         reply->add_option("--command", options->command,
                           "runs it by the shell for each request, which is its standard input; "
                           "its standard output is the reply. Where the request's type is known it "
                           "gets JSON, with --type it gives JSON. If it fails the request does")});
    AddJson(reply, &options->payload.json, "the reply as JSON, encoded as --type");
    reply->add_option("--type", options->payload.type_name,
                      "full protobuf type name of the replies (default: bytes without a type)");
    AddDescriptors(reply, &options->payload.descriptors);
    AddNumber(reply, "--count", &options->count, "ends after so many requests")->check(Counted(1));
  }

  void AddLists() {
    const auto list = [this](const char* name, const char* what, Subcommand subcommand) {
      CLI::App* app = Add(name, what, subcommand);
      app->add_option("--realm", line_.realm, "only this realm (default: all)");
      return app;
    };
    list("realms", "lists the realms of ivmqd and what they use", Subcommand::kRealms);
    list("peers", "lists machines: the host and every VM", Subcommand::kPeers);
    list("nodes", "lists processes that use the SDK", Subcommand::kNodes);
    list("topics", "lists topics, and services where there are some", Subcommand::kTopics);
    list("links", "lists links and what passed through them", Subcommand::kLinks)
        ->add_option("--topic", line_.topic, "only this topic or service (default: all)");
    list("audit", "accounts for the messages of each link; status 1 where they do not add up",
         Subcommand::kAudit)
        ->add_option("--topic", line_.topic, "only this topic or service (default: all)");
  }

  void AddWatch() {
    CLI::App* watch =
        Add("watch", "prints what is there, then what comes, changes and goes", Subcommand::kWatch);
    watch->add_option("--realm", line_.realm, "only this realm (default: all)");
    watch->add_flag("--peers", line_.watch.peers, "machines (default: everything)");
    watch->add_flag("--nodes", line_.watch.nodes, "processes");
    watch->add_flag("--topics", line_.watch.topics, "topics");
    watch->add_flag("--links", line_.watch.links, "links");
  }

  void AddEvict() {
    CLI::App* evict = app_.add_subcommand("evict", "removes a process or a VM from its realm");
    evict->require_subcommand(1);
    evict->fallthrough();
    CLI::App* node = evict->add_subcommand("node", "ends a process's session");
    node->add_option("ID", line_.evict_id, "as `ivmq nodes` shows it")
        ->required()
        ->check(Counted(1));
    node->callback([this] { line_.subcommand = Subcommand::kEvictNode; });
    CLI::App* peer = evict->add_subcommand("peer", "disconnects a VM's device");
    peer->add_option("ID", line_.evict_id, "as `ivmq peers` shows it; not 0")
        ->required()
        ->check(Within(uint32_t{1}, transport::kMaxPeerId));
    peer->add_option("--realm", line_.realm, "of the peer (default: the only one)");
    peer->callback([this] { line_.subcommand = Subcommand::kEvictPeer; });
  }

  bool Take() {
    line_.admin_socket_given = !line_.admin_socket.empty();
    if (!line_.admin_socket_given) line_.admin_socket = DefaultAdminSocket();
    const Payload& request = line_.request.payload;
    const Payload& reply = line_.reply.payload;
    std::string mistake;
    if (request.json && (request.text || !request.file.empty() || request.lines)) {
      mistake = "request: a message in --json and another one? Give one of them";
    } else if (reply.json && (reply.text || line_.reply.echo || !line_.reply.command.empty())) {
      mistake = "reply: a reply in --json and another one? Give one of them";
    } else if (line_.subcommand == Subcommand::kPub && !line_.pub.payload.given() &&
               !line_.pub.size_bytes) {
      mistake = "pub: what shall be published? Give MESSAGE, --file, --stdin, --json or --size";
    } else if (line_.subcommand == Subcommand::kReply && !reply.given() && !line_.reply.echo &&
               line_.reply.command.empty()) {
      mistake = "reply: what shall the reply be? Give MESSAGE, --json, --echo or --command";
    } else if (line_.subcommand == Subcommand::kReply && reply.json && reply.type_name.empty()) {
      mistake = "reply: --json of which type? Give --type";
    }
    if (!mistake.empty()) Complain(mistake);
    return mistake.empty();
  }

  CLI::App app_;
  CommandLine line_;
  bool version_ = false;
  bool help_ = false;
  std::vector<std::string> help_of_;  // a command, and one of it, or none
};

}  // namespace

std::string DefaultAdminSocket() {
  if (::geteuid() == 0) return "/run/ivmq/admin.sock";
  // NOLINTNEXTLINE(concurrency-mt-unsafe): before there are threads
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  return runtime != nullptr ? std::string(runtime) + "/ivmq/admin.sock" : "/run/ivmq/admin.sock";
}

bool ParseCommandLine(int argc, char** argv, CommandLine* line, int* exit_code) {
  return Parser().Parse(argc, argv, line, exit_code);
}

}  // namespace ivmq::command
