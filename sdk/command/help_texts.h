#ifndef IVMQ_SDK_COMMAND_HELP_TEXTS_H_
#define IVMQ_SDK_COMMAND_HELP_TEXTS_H_

// What the help says below the flags.
namespace ivmq::command {

inline constexpr const char* kFooter =
    "\nExit status: 0 done, 1 failed, 2 misused.\n"
    "--json prints one JSON object a line. Lists print an object for each element, as in\n"
    "ivmq/v1/discovery.proto; 64-bit integers are strings there, as in all of protobuf's JSON.";

inline constexpr const char* kPubFooter =
    "\n`ivmq --json pub …`, before the command, prints what was published as a JSON object.\n"
    "\nExamples:\n"
    "  ivmq pub sensors.cpu hello\n"
    "  ivmq pub sensors.cpu --type acme.Load --json '{\"busy\": 0.5}' --descriptors acme.desc\n"
    "  ivmq pub sensors.cpu --file frame.bin --count 100 --rate 10 --wait 1 --timestamps";
inline constexpr const char* kSubFooter =
    "\nPrints text as it is, messages whose type is known as JSON, and other bytes in hex. What "
    "was\n"
    "lost is told on the standard error.\n"
    "\nExamples:\n"
    "  ivmq sub 'sensors.>'\n"
    "  ivmq sub sensors.cpu --history 10 --reliable --count 10\n"
    "  ivmq sub 'sensors.*' --latency --timeout 10 --json";
inline constexpr const char* kRequestFooter =
    "\nStatus 1 where a request fails; its code and text are on the standard error.\n"
    "`--json` without a message prints each reply as a JSON object; beside one with a message it\n"
    "goes before the command: `ivmq --json request …`.\n"
    "\nExamples:\n"
    "  ivmq request time.now\n"
    "  ivmq request camera.settings --json '{\"id\": 7}' --timeout 0.5\n"
    "  ivmq request shout hello --wait 1 --json";
inline constexpr const char* kReplyFooter =
    "\n`--json` without a message prints each request as a JSON object; beside one with a message\n"
    "it goes before the command: `ivmq --json reply …`.\n"
    "\nExamples:\n"
    "  ivmq reply shout --command 'tr a-z A-Z'\n"
    "  ivmq reply ping pong --count 1\n"
    "  ivmq reply camera.settings --echo --type acme.Settings";

inline constexpr const char* kBenchFooter =
    "\nStart `ivmq bench serve` on one machine and a run on another, or on the same. Figures come "
    "each\n"
    "second on the standard error, a table at the end. With --json both are objects on the "
    "standard\n"
    "output. Ctrl-C ends a run early. Status 1 where a message was lost, damaged or out of order.\n"
    "\nExamples:\n"
    "  ivmq bench serve --name guest-2\n"
    "  ivmq bench throughput --server guest-2 --size 1024 --duration 5\n"
    "  ivmq bench latency --server guest-2 --rate 10000 --wait spin\n"
    "  ivmq bench request --size 4096 --json";

inline constexpr const char* kJsonMessage =
    "the message as JSON, encoded as --type; - for a message on each line of the standard input";

}  // namespace ivmq::command

#endif  // IVMQ_SDK_COMMAND_HELP_TEXTS_H_
