/* smallmind.hpp: beside the C functions, its exceptions, streams and the order in which handles go.
 *
 *     test_smallmind MODEL
 *
 * MODEL has a vocabulary; the last line says how many passed. */
#include "smallmind.hpp"

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <optional>

static int passed, failed;

#define CHECK(what)                                                          \
    do {                                                                     \
        if (what) {                                                          \
            passed++;                                                        \
        } else {                                                             \
            failed++;                                                        \
            std::printf("%s:%d: failed: %s\n", __FILE__, __LINE__, #what);   \
        }                                                                    \
    } while (0)

template <class Exception, class Function> static bool throws(Function function, sm_status code) {
    try {
        function();
    } catch (const Exception &e) {
        return e.code() == code && std::strlen(e.what()) > 0;
    }
    return false;
}

static smallmind::generate_options tokens(std::uint32_t n) {
    smallmind::generate_options options;
    options.c.max_tokens = n;
    options.c.ignore_end = 1;
    return options;
}

static std::string from_c(const smallmind::model &model, const char *prompt, std::uint32_t n) {
    auto session = smallmind::session(model);
    auto o = smallmind::sized<sm_generate_options>();
    std::string out;
    sm_error error;
    o.max_tokens = n;
    o.ignore_end = 1;
    sm_session_generate(
        session.get(), prompt, SM_ZT, &o,
        [](void *user, const sm_token *token) {
            static_cast<std::string *>(user)->append(token->text, std::size_t(token->length));
            return std::int32_t(0);
        },
        &out, &error);
    return out;
}

static void texts(const smallmind::model &model) {
    const std::string wanted = from_c(model, "Once", 40);
    smallmind::session session(model);
    CHECK(!wanted.empty());
    CHECK(session.complete("Once", tokens(40)) == wanted);
    CHECK(session.stats().generated_tokens == 40);
    std::string streamed;
    for (const std::string &piece : session.stream("Once", tokens(40)))
        streamed += piece;
    CHECK(streamed == wanted);
    auto stop = tokens(40);
    stop.stop = {wanted.substr(5, 3)};
    CHECK(session.complete("Once", stop) == wanted.substr(0, wanted.find(stop.stop[0])));
    /* a range for algorithms */
    auto stream = session.stream("Once", tokens(40));
    std::size_t bytes = 0;
    std::for_each(stream.begin(), stream.end(), [&](const std::string &p) { bytes += p.size(); });
    CHECK(bytes == wanted.size());
}

static void tokens_by_hand(const smallmind::model &model) {
    const auto tokenizer = model.tokenizer();
    const auto ids = tokenizer.encode("Once upon a time");
    smallmind::session a(model);
    a.feed(ids);
    CHECK(a.length() == ids.size() && a.tokens() == ids);
    CHECK(a.logits().size == std::size_t(model.info().n_vocab));
    auto b = a.fork();
    const auto first = a.sample(), second = b.sample();
    CHECK(first.id == second.id && first.logprob == second.logprob);
    CHECK(std::max_element(a.logits().begin(), a.logits().end()) - a.logits().begin() == first.id);
    a.rewind(2);
    CHECK(a.length() == 2 && b.length() == ids.size());
    CHECK(tokenizer.decode(ids).find("Once upon a time") != std::string::npos);
    smallmind::session moved(std::move(b));
    moved.feed({first.id});
    CHECK(moved.length() == ids.size() + 1);
}

static void failures(const smallmind::model &model, const char *path) {
    using smallmind::error;
    CHECK(throws<error>([] { smallmind::model("/nonexistent.gguf"); }, SM_ERR_IO));
    smallmind::session session(model);
    CHECK(throws<error>([&] { session.feed({-1}); }, SM_ERR_TOKEN));
    CHECK(throws<error>([&] { session.rewind(5); }, SM_ERR_ARGUMENT));
    CHECK(throws<error>([&] { session.logits(); }, SM_ERR_STATE));
    CHECK(throws<error>([&] { smallmind::constraint::regex(model.tokenizer(), "("); },
                        SM_ERR_FORMAT));
    /* what a callback throws, and false */
    struct mine {
        int number;
    };
    int caught = 0;
    try {
        session.generate("Once", tokens(20), [](const sm_token &) -> bool { throw mine{7}; });
    } catch (const mine &m) {
        caught = m.number;
    }
    CHECK(caught == 7);
    CHECK(throws<smallmind::cancelled>(
        [&] { session.generate("Once", tokens(20), [](const sm_token &) { return false; }); },
        SM_ERR_CANCELLED));
    try {
        smallmind::model again(path, [](std::uint64_t, std::uint64_t) -> bool { throw mine{8}; });
    } catch (const mine &m) {
        caught = m.number;
    }
    CHECK(caught == 8);
    CHECK(!session.complete("Once", tokens(3)).empty()); /* it goes on */
}

static smallmind::cancel_flag *pressed;

static void ends(const smallmind::model &model) {
    smallmind::session session(model);
    /* a stream that goes before its end */
    {
        auto stream = session.stream("Once", tokens(400));
        CHECK(!stream.begin()->empty());
    }
    CHECK(!session.complete("Once", tokens(3)).empty());
    /* another thread */
    auto endless = tokens(0);
    endless.c.context_full = SM_CONTEXT_SLIDE;
    endless.c.n_keep = 4;
    std::thread other;
    CHECK(throws<smallmind::cancelled>(
        [&] {
            session.generate("Once", endless, [&](const sm_token &) {
                if (!other.joinable())
                    other = std::thread([&] { session.cancel(); });
                return true;
            });
        },
        SM_ERR_CANCELLED));
    other.join();
    session.cancel(false);
    /* a signal */
    smallmind::cancel_flag flag;
    pressed = &flag;
    std::signal(SIGINT, [](int) { pressed->set(); });
    endless.c.cancel_flag = flag.get();
    CHECK(throws<smallmind::cancelled>(
        [&] {
            session.generate("Once", endless, [&](const sm_token &) {
                std::raise(SIGINT);
                return true;
            });
        },
        SM_ERR_CANCELLED));
    std::signal(SIGINT, SIG_DFL);
    CHECK(flag.is_set());
}

static void structure(const smallmind::model &model) {
    const auto tokenizer = model.tokenizer();
    smallmind::session session(model);
    auto options = tokens(60);
    options.c.ignore_end = 0;
    const auto list = smallmind::constraint::choices(tokenizer, {"yes", "no"});
    options.c.constraint = list.get();
    const std::string answer = session.complete("Is it?", options);
    CHECK(answer == "yes" || answer == "no");
    const auto schema = smallmind::constraint::schema(
        tokenizer, R"({"type": "object", "properties": {"a": {"enum": [1, 2]}},
                       "required": ["a"], "additionalProperties": false})");
    options.c.constraint = schema.get();
    const std::string json = session.complete("", options);
    CHECK(json == "{\"a\":1}" || json == "{\"a\":2}" || json == "{\"a\": 1}");
}

static void conversations(const smallmind::model &model) {
    auto how = smallmind::sized<sm_chat_options>();
    how.template_name = "chatml";
    const smallmind::chat chat(model, how);
    const std::string messages = R"([{"role": "user", "content": "Hello"}])";
    CHECK(chat.render(messages).find("Hello") != std::string::npos);
    smallmind::session session(model);
    std::string said;
    const std::string end = session.answer(chat, messages, tokens(8), [&](const sm_delta &d) {
        if (d.kind == SM_DELTA_CONTENT)
            said.append(d.text, std::size_t(d.length));
        return true;
    });
    CHECK(end.find("\"finish_reason\"") != std::string::npos);
    CHECK(end.find("\"usage\"") != std::string::npos);
    CHECK(throws<smallmind::error>([&] { session.answer(chat, "no JSON"); }, SM_ERR_FORMAT));
    CHECK(throws<smallmind::cancelled>(
        [&] { session.answer(chat, messages, tokens(8), [](const sm_delta &) { return false; }); },
        SM_ERR_CANCELLED));
}

/* Sessions keep their model, whatever goes first. */
static void order(const char *path) {
    std::optional<smallmind::model> model(path);
    std::optional<smallmind::tokenizer> tokenizer(model->tokenizer());
    smallmind::session session(*model);
    model.reset();
    CHECK(session.complete("Once", tokens(3)).size() > 0);
    CHECK(tokenizer->encode("Once").size() > 0);
}

int main(int argc, char **argv) {
    if (argc != 2)
        return 2;
    const smallmind::model model(argv[1]);
    texts(model);
    tokens_by_hand(model);
    failures(model, argv[1]);
    ends(model);
    structure(model);
    conversations(model);
    order(argv[1]);
    std::printf("%d passed, %d failed, 0 skipped\n", passed, failed);
    return failed != 0;
}
