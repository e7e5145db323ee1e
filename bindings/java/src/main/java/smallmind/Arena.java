package smallmind;

import com.sun.jna.Memory;
import com.sun.jna.Pointer;
import com.sun.jna.Structure;
import java.lang.ref.Reference;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import smallmind.abi.C;

/** Memory that structs of one call point to: there until {@link #close}. */
final class Arena implements AutoCloseable {
    private final List<Object> held = new ArrayList<>();

    Pointer bytes(byte[] bytes) {
        Memory memory = new Memory(bytes.length + 1L);
        memory.write(0, bytes, 0, bytes.length);
        memory.setByte(bytes.length, (byte) 0);
        held.add(memory);
        return memory;
    }

    /** Of a text that {@link #zeroEnded(String, String)} has looked at; null stays null. */
    Pointer zeroEnded(String text) {
        return text == null ? null : bytes(text.getBytes(StandardCharsets.UTF_8));
    }

    /** Null if there are none. */
    Pointer texts(List<String> texts) {
        C.sm_text[] list = textStructs(texts);
        return list == null ? null : list[0].getPointer();
    }

    /** The same as structs that lie one behind the other. */
    C.sm_text[] textStructs(List<String> texts) {
        if (texts.isEmpty()) {
            return null;
        }
        C.sm_text[] list = (C.sm_text[]) new C.sm_text().toArray(texts.size());
        for (int i = 0; i < list.length; i++) {
            byte[] bytes = texts.get(i).getBytes(StandardCharsets.UTF_8);
            list[i].text = bytes(bytes);
            list[i].length = bytes.length;
        }
        structs(list);
        return list;
    }

    Pointer structs(Structure... list) {
        for (Structure one : list) {
            one.write();
            held.add(one);
        }
        return list[0].getPointer();
    }

    @Override
    public void close() {
        Reference.reachabilityFence(held);
    }

    static int u32(String name, long value) {
        if (value < 0 || value > 0xffffffffL) {
            throw new IllegalArgumentException(name + " is " + value + ", not in 0..2^32 - 1");
        }
        return (int) value;
    }

    /** A text that C reads up to a zero. */
    static String zeroEnded(String name, String text) {
        if (text != null && text.indexOf('\0') >= 0) {
            throw new IllegalArgumentException(name + " holds a zero");
        }
        return text;
    }
}
