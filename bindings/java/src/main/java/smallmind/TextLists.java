package smallmind;

import com.sun.jna.Pointer;
import com.sun.jna.ptr.PointerByReference;
import java.util.List;
import smallmind.abi.C;

/** What {@link GenerateOptions} has beside numbers and words. */
@SuppressWarnings("unchecked")
abstract class TextLists<T> {
    private static final int SCHEMA = 0; // beside Constants.SM_CONSTRAINT_…
    private Sampling sampling = new Sampling();
    private List<String> stop = List.of();
    private List<String> ban = List.of();
    private String constraint;
    private int kind;

    /** How tokens are chosen. */
    public T sampling(Sampling value) {
        sampling = value;
        return (T) this;
    }

    /** Texts that end the text. */
    public T stop(String... texts) {
        stop = List.of(texts);
        return (T) this;
    }

    /** Texts that the text must not hold. */
    public T ban(String... texts) {
        ban = List.of(texts);
        return (T) this;
    }

    /** A JSON Schema that the text must match, in place of any other constraint. */
    public T schema(String text) {
        return matching(SCHEMA, text);
    }

    /** A grammar in GBNF's notation that the text must match. */
    public T grammar(String text) {
        return matching(Constants.SM_CONSTRAINT_GRAMMAR, text);
    }

    /** An expression, of the library's own syntax, that the text must match as a whole. */
    public T regex(String text) {
        return matching(Constants.SM_CONSTRAINT_REGEX, text);
    }

    private T matching(int how, String text) {
        kind = how;
        constraint = text;
        return (T) this;
    }

    void lists(C.sm_generate_options c, Arena arena) {
        c.sampling = arena.structs(sampling.fill(arena));
        c.stop = arena.texts(stop);
        c.n_stop = stop.size();
        c.ban = arena.texts(ban);
        c.n_ban = ban.size();
    }

    /** To be freed; null: none. */
    Pointer constraint(Pointer tokenizer, Pointer flag) {
        if (constraint == null) {
            return null;
        }
        C.sm_constraint_options how = new C.sm_constraint_options();
        how.struct_size = how.size();
        how.cancel_flag = flag;
        byte[] text = Library.bytes(constraint);
        PointerByReference made = new PointerByReference();
        C.Functions c = Library.C;
        Library.call(e -> kind == SCHEMA
                ? c.sm_constraint_new_schema(made, tokenizer, text, text.length, null, how, e)
                : c.sm_constraint_new(made, tokenizer, kind, text, text.length, how, e));
        return made.getValue();
    }
}
