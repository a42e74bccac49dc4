package mailbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// An attempt that may have been made before files a message only if that is
// not so: wherever it lies, whatever its flags are, and for another process.
func TestDeliverAgain(t *testing.T) {
	h := newTestHost(t)
	root := filepath.Join(t.TempDir(), "Maildir")
	deliver := func(h *Host, ident string, again bool) error {
		return h.Deliver([]Target{{Root: root, Ident: ident, Again: again}}, func(w io.Writer) error {
			_, err := io.WriteString(w, "Subject: "+ident+"\r\n\r\nb\r\n")
			return err
		})[0]
	}
	files := func() []string {
		all, _ := filepath.Glob(root + "/[nc]*/*")
		return all
	}
	for _, ident := range []string{"one", "two"} {
		if err := deliver(h, ident, true); err != nil { // it may have been, and was not
			t.Fatal(err)
		}
	}
	if err := os.Rename(files()[0], strings.Replace(files()[0], "/new/", "/cur/", 1)+":2,FS"); err != nil {
		t.Fatal(err)
	}
	for _, who := range []*Host{h, newTestHost(t)} {
		for _, ident := range []string{"one", "two"} {
			if err := deliver(who, ident, true); !errors.Is(err, ErrFiled) {
				t.Errorf("%s: %v", ident, err)
			}
		}
		if err := deliver(who, "three", true); err != nil && !errors.Is(err, ErrFiled) {
			t.Error(err)
		}
	}
	if n := len(files()); n != 3 {
		t.Errorf("%d files, want 3", n)
	}
	if err := deliver(h, "one", false); err != nil { // who does not ask gets another
		t.Error(err)
	}
	for _, path := range files() {
		os.Remove(path)
	}
	if err := deliver(h, "two", true); !errors.Is(err, ErrFiled) {
		t.Errorf("what this process filed, and a reader removed: %v", err)
	}
	if err := deliver(newTestHost(t), "two", true); err != nil {
		t.Errorf("what another process filed, and a reader removed: %v", err)
	}
	if n := len(files()); n != 1 {
		t.Errorf("%d files, want 1", n)
	}
}

// Some targets may have the message, and others not.
func TestDeliverAgainToSome(t *testing.T) {
	h, dir := newTestHost(t), t.TempDir()
	target := func(name string, again bool) Target {
		return Target{Root: filepath.Join(dir, name), Ident: "x", Again: again}
	}
	write := func(w io.Writer) error { _, err := io.WriteString(w, "\nb\n"); return err }
	h.Deliver([]Target{target("a", false)}, write)
	errs := h.Deliver([]Target{target("a", true), target("b", true)}, write)
	if !errors.Is(errs[0], ErrFiled) || errs[1] != nil {
		t.Error(errs)
	}
	for _, name := range []string{"a", "b"} {
		if all, _ := filepath.Glob(filepath.Join(dir, name, "new", "*")); len(all) != 1 {
			t.Errorf("%s: %q", name, all)
		}
	}
}

// What the process remembers is bounded.
func TestMarksAreBounded(t *testing.T) {
	var m marks
	for i := range 3 * maxFiled {
		m.add("/d", fmt.Sprint(i))
	}
	if len(m.filed) != maxFiled || len(m.latest) != maxFiled {
		t.Errorf("%d, %d", len(m.filed), len(m.latest))
	}
	if m.has(filing{"/d", markOf("0")}) || !m.has(filing{"/d", markOf(fmt.Sprint(3*maxFiled - 1))}) {
		t.Error("the oldest ones must go first")
	}
	for i := range 2 * maxMarked {
		m.of(fmt.Sprint("/", i), true)
	}
	if len(m.dirs) > maxMarked {
		t.Errorf("%d folders", len(m.dirs))
	}
	large := m.of("/large", true)
	large.read = true
	for i := range maxMarks + 1 {
		m.add("/large", fmt.Sprint(i))
	}
	if len(large.set) > maxMarks || large.read {
		t.Errorf("%d marks of one folder", len(large.set))
	}
}
