// Tests of the C++ binding.
//
//     test_smallmind MODEL   (one with a vocabulary)
#include <smallmind.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <iostream>
#include <numeric>
#include <type_traits>
#if __cplusplus >= 202002L
#include <ranges>
#include <span>
#endif

namespace sm = smallmind;

static int failures = 0;
#define CHECK(what)                                                              \
    do {                                                                         \
        if (!(what)) {                                                           \
            std::cerr << __FILE__ << ":" << __LINE__ << ": not so: " #what "\n"; \
            failures++;                                                          \
        }                                                                        \
    } while (0)

/// The message of what it throws, "" if that is nothing, or something else.
template <class E, class F> static std::string thrown(F &&function) {
    try {
        function();
    } catch (const E &e) {
        return e.what();
    } catch (const std::exception &e) {
        std::cerr << "another exception: " << e.what() << "\n";
    }
    return "";
}

static std::string path;

static sm::generate_options many() {
    sm::generate_options options;
    options.max_tokens = 1000000;
    options.ignore_end = true;
    options.context_full = SM_CONTEXT_SLIDE;
    return options;
}

static sm::generate_options few(std::uint32_t n) {
    sm::generate_options options;
    options.max_tokens = n;
    return options;
}

static sm::session_options small() {
    sm::session_options options;
    options.n_ctx = 64;
    options.n_threads = 1;
    return options;
}

static_assert(!std::is_copy_constructible<sm::model>::value, "handles are move-only");
static_assert(!std::is_copy_constructible<sm::session>::value, "handles are move-only");
static_assert(!std::is_copy_constructible<sm::tokenizer>::value, "handles are move-only");
static_assert(!std::is_copy_constructible<sm::canceller>::value, "handles are move-only");
static_assert(!std::is_copy_constructible<sm::stream<sm::token>>::value, "streams are move-only");
static_assert(std::is_nothrow_move_constructible<sm::session>::value, "moving does nothing");
#if __cplusplus >= 202002L
static_assert(std::ranges::input_range<sm::stream<sm::token>>);
static_assert(std::ranges::input_range<sm::stream<sm::delta>>);
#endif

static void test_texts() {
    const sm::model model(path);
    const sm::tokenizer tokenizer = model.tokenizer();
    const std::string text("and the end\0!", 13);
    const auto ids = tokenizer.encode(text, 0);
    CHECK(ids.size() > 2);
    CHECK(tokenizer.decode(ids).find(text) != std::string::npos);
    CHECK(model.info().n_vocab > 0 && std::string(model.info().architecture) == "llama");
}

static void test_errors() {
    const std::string message = thrown<sm::io_error>([] { sm::model("/nonexistent/m.gguf"); });
    CHECK(message.find("/nonexistent") != std::string::npos);
    try {
        sm::model("/nonexistent/m.gguf");
    } catch (const sm::error &e) {
        CHECK(e.code == SM_ERR_IO && e.system == 2);
    }
    const sm::model model(path);
    sm::session_options options;
    options.n_threads = 100000;
    CHECK(thrown<sm::argument_error>([&] { sm::session(model, options); }).find("n_threads") !=
          std::string::npos);
    sm::session session(model, small());
    CHECK(thrown<sm::token_error>([&] { session.feed({1 << 30}); }) != "");
    CHECK(thrown<sm::state_error>([&] { session.logits(); }) != "");
}

static void test_zero_is_said() {
    sm::sampling_options from;
    sm_sampling to = {};
    sm::fill(to, from);
    CHECK(to.top_p >= 0 && to.penalty_last_n == 0); // the defaults
    from.top_p = 0;
    from.penalty_last_n = 0;
    sm::fill(to, from);
    CHECK(to.top_p <= SM_ZERO && to.penalty_last_n == SM_ZERO_U32);
    from.top_p = 0.5;
    sm::fill(to, from);
    CHECK(to.top_p > 0.4 && to.top_p < 0.6);
}

static void test_streams() {
    const sm::model model(path);
    sm::session session(model, small());
    const std::string whole = session.complete("Once", few(12));
    std::string told, pulled;
    session.generate("Once", few(12), [&](const sm::token &t) { told += t.text; });
    for (const sm::token &t : session.generate("Once", few(12)))
        pulled += t.text;
    CHECK(!whole.empty() && told == whole && pulled == whole);
    CHECK(session.stats().generated_tokens == 12 && session.stats().finish == SM_FINISH_LENGTH);

    auto stream = session.generate("Once", few(12));
    const std::string summed =
        std::accumulate(stream.begin(), stream.end(), std::string(),
                        [](std::string sum, const sm::token &t) { return sum + t.text; });
    CHECK(summed == whole);
#if __cplusplus >= 202002L && (!defined(__clang__) || __clang_major__ >= 16)
    std::string first; // clang before 16 cannot compile libstdc++'s views
    auto endless = session.generate("Once", many());
    for (const auto &t : endless | std::views::take(3))
        first += t.text;
    CHECK(whole.rfind(first, 0) == 0);
#endif
}

static void test_streams_that_are_left() {
    const sm::model model(path);
    sm::session session(model, small());
    const std::string whole = session.complete("Once", few(4));
    for (int i = 0; i < 20; i++)
        for (const sm::token &t : session.generate("Once", many()))
            if (t.id >= 0)
                break;
    CHECK(session.complete("Once", few(4)) == whole); // it is free again, and not cancelled
    {
        auto unread = session.generate("Once", many());
        auto moved = std::move(unread);
        unread = session.generate("", few(1)); // state_error comes out of it, if it is read
        moved = std::move(unread);
    }
    auto stream = session.generate("Once", many());
    {
        const sm::session gone(std::move(session)); // the stream goes on
    }
    CHECK(stream.begin() != stream.end());
}

static void test_errors_of_streams() {
    const sm::model model(path);
    sm::session session(model, small());
    auto bad = few(4);
    bad.n_logprobs = 1000;
    CHECK(thrown<sm::argument_error>([&] {
              for (const auto &t : session.generate("Once", bad))
                  (void)t;
          }) != "");
    auto stream = session.generate("Once", many());
    CHECK(stream.begin() != stream.end()); // the call has begun
    CHECK(thrown<sm::state_error>([&] { session.feed({1}); }) != "");
}

static void test_callbacks_that_throw() {
    struct mine {};
    const sm::model model(path);
    sm::session session(model, small());
    int told = 0;
    bool out = false;
    try {
        session.generate("Once", many(), [&](const sm::token &) {
            if (++told == 3)
                throw mine();
        });
    } catch (const mine &) {
        out = true;
    }
    CHECK(out && told == 3);
    told = 0;
    CHECK(thrown<sm::cancelled_error>([&] {
              session.generate("Once", many(), [&](const sm::token &) { return ++told < 2; });
          }) != "" &&
          told == 2);
    sm::model_options options;
    options.progress = [](std::uint64_t, std::uint64_t) -> bool {
        throw std::out_of_range("enough");
    };
    CHECK(thrown<std::out_of_range>([&] { sm::model(path, options); }) == "enough");
    CHECK(!session.complete("Once", few(3)).empty());
}

static void test_cancel_from_a_thread() {
    const sm::model model(path);
    sm::session session(model, small());
    std::thread other([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        session.cancel();
    });
    CHECK(thrown<sm::cancelled_error>([&] { session.complete("Once", many()); }) != "");
    other.join();
    sm::canceller flag;
    auto options = many();
    options.cancel = &flag;
    std::thread third([&] { flag.set(); });
    CHECK(thrown<sm::cancelled_error>([&] { session.complete("Once", options); }) != "");
    third.join();
    sm::model_options set;
    set.cancel = &flag;
    CHECK(flag.is_set() && thrown<sm::cancelled_error>([&] { sm::model(path, set); }) != "");
    flag.clear();
    CHECK(sm::model(path, set).info().n_vocab > 0);
}

static const sm::session *signalled;
extern "C" void on_signal(int) {
    signalled->cancel();
}

static void test_cancel_by_a_signal() {
    const sm::model model(path);
    sm::session session(model, small());
    signalled = &session;
    std::signal(SIGINT, on_signal);
    bool sent = false;
    CHECK(thrown<sm::cancelled_error>([&] {
              session.generate("Once", many(), [&](const sm::token &) {
                  if (!std::exchange(sent, true))
                      std::raise(SIGINT);
              });
          }) != "");
    std::signal(SIGINT, SIG_DFL);
}

static void test_any_order_of_ends() {
    auto model = std::make_unique<sm::model>(path);
    auto session = std::make_unique<sm::session>(*model, small());
    auto tokenizer = model->tokenizer();
    model.reset();
    session->feed(tokenizer.encode("Once upon a time"));
    auto fork = session->fork();
    const auto logits = session->logits();
    session.reset();
    CHECK(fork.size() > 2 && fork.logits() == logits);
    CHECK(logits.size() == static_cast<std::size_t>(fork.info().n_vocab));
    const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
    CHECK(fork.sample().id == static_cast<std::int32_t>(best));
    const auto tokens = fork.tokens();
    fork.rewind(1);
    CHECK(fork.size() == 1 && fork.sync(tokens) == 1 && fork.logits() == logits);
}

static void test_chat() {
    auto model = std::make_unique<sm::model>(path);
    sm::session_options wide;
    wide.n_threads = 1;
    sm::session session(*model, wide);
    model.reset();
    sm::chat_options options;
    options.template_name = "chatml";
    options.generate.max_tokens = 8;
    const std::vector<sm::message> messages = {{"user", "A \"quoted\"\nline\x01 \\ \u00e4"}};
    CHECK(sm::json_of(messages) == "[{\"role\":\"user\",\"content\":"
                                   "\"A \\\"quoted\\\"\\u000aline\\u0001 \\\\ \u00e4\"}]");
    const sm::answer answer = session.chat(messages, options);
    CHECK(answer.json.find("\"finish_reason\"") != std::string::npos);
    std::string content;
    std::uint32_t last = 0;
    for (const sm::delta &d : session.stream_chat(messages, options)) {
        last = d.kind;
        if (d.kind == SM_DELTA_CONTENT)
            content += d.text;
    }
    CHECK(last == SM_DELTA_END && content == answer.content);
    options.template_name = "no such layout";
    CHECK(thrown<sm::argument_error>([&] { session.chat(messages, options); }) != "");
}

static void test_constraints() {
    const sm::model model(path);
    sm::session session(model, small());
    const auto schema = sm::constraint::schema(model.tokenizer(), R"({"enum": ["a", "b"]})");
    auto options = few(20);
    options.constraint = &schema;
    const std::string text = session.complete("Once", options);
    CHECK(text == "\"a\"" || text == "\"b\"");
    const auto choices = sm::constraint::choices(model.tokenizer(), {"yes", "no"});
    options.constraint = &choices;
    const std::string chosen = session.complete("Once", options);
    CHECK(chosen == "yes" || chosen == "no");
    const auto regex = sm::constraint::regex(model.tokenizer(), "[0-9]{3}");
    options.constraint = &regex;
    CHECK(session.complete("Once", options).size() == 3);
    CHECK(thrown<sm::format_error>([&] { sm::constraint::schema(model.tokenizer(), "{"); }) != "");
}

static void test_vectors() {
    sm::encoder_options options;
    options.n_threads = 1;
    auto model = std::make_unique<sm::model>(path);
    sm::encoder encoder(*model, options);
    model.reset();
    const sm_encoder_info info = encoder.info();
    const auto vectors = encoder.embed({"Once upon a time", "and the end", ""});
    CHECK(vectors.size() == 3 && vectors[2].size() == info.n_dims && vectors[0] != vectors[1]);
    CHECK(encoder.embed({"and the end"})[0] == vectors[1]);
    CHECK(encoder.embed({}).empty() && info.n_labels == 0 && encoder.labels().empty());
    CHECK(thrown<sm::unsupported_error>([&] { encoder.score({"Once"}); }) != "");
    CHECK(thrown<sm::unsupported_error>([&] { encoder.rerank("Once", {"a", "b"}); }) != "");
    encoder.cancel();
    CHECK(thrown<sm::cancelled_error>([&] { encoder.embed({"Once"}); }) != "");
    CHECK(encoder.embed({"Once"}).size() == 1); // nothing is left of it
    options.n_dims = 8;
    sm::encoder other(sm::model(path), options);
    encoder = std::move(other);
    CHECK(encoder.embed({"Once"})[0].size() == 8);
}

int main(int, char **arguments) {
    path = arguments[1];
    const auto begin = std::chrono::steady_clock::now();
    test_texts();
    test_errors();
    test_zero_is_said();
    test_streams();
    test_streams_that_are_left();
    test_errors_of_streams();
    test_callbacks_that_throw();
    test_cancel_from_a_thread();
    test_cancel_by_a_signal();
    test_any_order_of_ends();
    test_chat();
    test_constraints();
    test_vectors();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    std::cout << failures << " failures in " << took.count() << " s\n";
    return failures != 0;
}
