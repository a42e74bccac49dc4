package textindex

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"peyk/internal/casemap"
	"peyk/internal/commit"
	"peyk/internal/mailbox"
)

type bed struct {
	t    testing.TB
	root string
	host *mailbox.Host
	a    *mailbox.Account
}

func newBed(t testing.TB) *bed {
	t.Helper()
	host, err := mailbox.NewHost(mailbox.Options{Disk: new(commit.Disk), Now: time.Now, Rand: rand.Reader, Hostname: "test", Poll: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(host.Close)
	b := &bed{t: t, root: filepath.Join(t.TempDir(), "m"), host: host}
	if b.a, err = host.Open(b.root); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.a.Close)
	return b
}

func (b *bed) deliver(texts ...string) {
	b.t.Helper()
	for _, text := range texts {
		errs := b.host.Deliver([]mailbox.Target{{Root: b.root}}, func(w io.Writer) error {
			_, err := io.WriteString(w, text)
			return err
		})
		if errs[0] != nil {
			b.t.Fatal(errs[0])
		}
	}
}

func (b *bed) open() *Index {
	b.t.Helper()
	x, err := Open(filepath.Join(b.root, "peyk-text"))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { x.Close() })
	return x
}

func (b *bed) inbox() *mailbox.Folder {
	b.t.Helper()
	f, err := b.a.Folder("INBOX")
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(f.Close)
	b.refresh(f)
	return f
}

func (b *bed) refresh(f *mailbox.Folder) {
	b.t.Helper()
	if _, err := f.Refresh(context.Background()); err != nil {
		b.t.Fatal(err)
	}
}

func noPause(time.Duration) error { return nil }

func (b *bed) fill(x *Index, f *mailbox.Folder) Filled {
	b.t.Helper()
	b.refresh(f)
	did, err := x.Fill(context.Background(), f, noPause)
	if err != nil {
		b.t.Fatal(err)
	}
	return did
}

// may returns the messages of f that may hold a text.
func (b *bed) may(x *Index, f *mailbox.Folder, text string) (uids []uint32) {
	b.t.Helper()
	c, err := x.Candidates(Folder{f.ID(), f.UIDValidity()}, casemap.Fold(text))
	if err != nil {
		b.t.Fatal(err)
	}
	if c == nil {
		return nil
	}
	for _, m := range f.Snapshot().Messages.All() {
		if c.Has(m.UID) {
			uids = append(uids, m.UID)
		}
	}
	return uids
}

func (b *bed) want(x *Index, f *mailbox.Folder, text string, want ...uint32) {
	b.t.Helper()
	if got := b.may(x, f, text); !slices.Equal(got, want) {
		b.t.Errorf("%q may be in %v, want %v", text, got, want)
	}
}

func TestIndexNarrows(t *testing.T) {
	b := newBed(t)
	b.deliver("Subject: Größe\n\nThe quick brown fox", "Subject: =?utf-8?B?2LPZhNin2YU=?=\n\nnothing\x00here", "Subject: x\nContent-Transfer-Encoding: base64\n\nZm94eQ==")
	x, f := b.open(), b.inbox()
	if got := b.may(x, f, "quick"); got != nil {
		t.Errorf("a folder that is not known: %v", got)
	}
	if did := b.fill(x, f); did.Added != 3 {
		t.Errorf("%+v", did)
	}
	b.want(x, f, "QUICK", 1)
	b.want(x, f, "fox", 1, 3)
	b.want(x, f, "foxy", 3)
	b.want(x, f, "grosse", 1)
	b.want(x, f, "سلام", 2)
	b.want(x, f, "hing", 2)
	b.want(x, f, "here", 2)
	b.want(x, f, "\"*^ OR NOT")
	b.want(x, f, strings.Repeat("the quick brown fox ", 50))
	if got := b.may(x, f, "fo"); got != nil {
		t.Errorf("two characters: %v", got)
	}
	b.deliver("\n\nnew")
	b.refresh(f)
	b.want(x, f, "foxy", 3, 4) // it is not indexed yet
	b.fill(x, f)
	b.want(x, f, "foxy", 3)
	if did := b.fill(x, f); did != (Filled{}) {
		t.Errorf("again: %+v", did)
	}
}

func TestIndexForgets(t *testing.T) {
	b := newBed(t)
	b.deliver("\n\nsecret one", "\n\nsecret two")
	x, f := b.open(), b.inbox()
	b.fill(x, f)
	if err := f.Expunge([]uint32{1}); err != nil {
		t.Fatal(err)
	}
	if did := b.fill(x, f); did.Removed != 1 {
		t.Errorf("%+v", did)
	}
	c, err := x.Candidates(Folder{f.ID(), f.UIDValidity()}, "SECRET")
	if err != nil || c.Has(1) || !c.Has(2) {
		t.Errorf("%+v, %v", c, err)
	}
	if err := x.Keep([]string{"another"}); err != nil {
		t.Fatal(err)
	}
	var n int
	for _, table := range []string{"folders", "messages", "texts"} {
		if err := x.db.QueryRow("SELECT count(*) FROM " + table).Scan(&n); err != nil || n != 0 {
			t.Errorf("%s: %d rows, %v", table, n, err)
		}
	}
}

// A folder with another UIDVALIDITY is another folder.
func TestUIDValidity(t *testing.T) {
	b := newBed(t)
	b.deliver("\n\ntext")
	x, f := b.open(), b.inbox()
	b.fill(x, f)
	other := Folder{f.ID(), f.UIDValidity() + 1}
	if c, err := x.Candidates(other, "ABSENT"); c != nil || err != nil {
		t.Errorf("%v, %v", c, err)
	}
	tx, err := x.db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, upto, err := enter(tx, other); upto != 0 || err != nil {
		t.Errorf("upto %d, %v", upto, err)
	}
}

// What is too long to be taken in may always match.
func TestLongTextsMayAlwaysMatch(t *testing.T) {
	b := newBed(t)
	b.deliver("\n\n"+strings.Repeat("abc ", MaxText/3)+"END", "\n\nshort")
	x, f := b.open(), b.inbox()
	b.fill(x, f)
	b.want(x, f, "absent", 1)
	b.want(x, f, "short", 1, 2)
}

func TestDamagedFileIsMadeAnew(t *testing.T) {
	b := newBed(t)
	b.deliver("\n\ntext")
	path := filepath.Join(b.root, "peyk-text")
	for name, content := range map[string]string{
		"noise":  strings.Repeat("no database ", 1000),
		"header": "SQLite format 3\x00" + strings.Repeat("\xff", 5000),
	} {
		if err := Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		x, err := Open(path)
		if err != nil || x.Renewed == nil {
			t.Fatalf("%s: %v", name, err)
		}
		f := b.inbox()
		b.fill(x, f)
		b.want(x, f, "text", 1)
		x.Close()
	}
}

func TestIndexIsPrivateAndNoLink(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	x, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	for _, name := range []string{path, path + "-wal"} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(link); err == nil {
		t.Error("a link was followed")
	}
}

func TestFillStops(t *testing.T) {
	b := newBed(t)
	for range 3 * batchMessages / 2 {
		b.deliver("\n\ntext")
	}
	x, f := b.open(), b.inbox()
	enough := errors.New("enough")
	did, err := x.Fill(context.Background(), f, func(time.Duration) error { return enough })
	if err != enough || did.Added != batchMessages {
		t.Errorf("%+v, %v", did, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := x.Fill(ctx, f, noPause); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if did, err := x.Fill(context.Background(), f, noPause); err != nil || did.Added > batchMessages/2 {
		t.Errorf("%+v, %v", did, err)
	}
}

// Whatever is in a message, the index does not hide it.
func TestIndexNeverHides(t *testing.T) {
	b := newBed(t)
	r := mrand.New(mrand.NewPCG(3, 4))
	alphabet := []rune("aAbÉß ñ\"*\n日本か\u3099سلام ۱\u200c\ufffd😀-")
	word := func(n int) string {
		w := make([]rune, n)
		for i := range w {
			w[i] = alphabet[r.IntN(len(alphabet))]
		}
		return string(w)
	}
	var texts []string
	for range 60 {
		texts = append(texts, "Content-Type: text/plain; charset=utf-8\n\n"+word(1+r.IntN(60))+"\n")
	}
	b.deliver(texts...)
	x, f := b.open(), b.inbox()
	b.fill(x, f)
	for range 400 {
		i := r.IntN(len(texts))
		_, body, _ := strings.Cut(texts[i], "\n\n")
		runes := []rune(body)
		from := r.IntN(len(runes))
		needle := string(runes[from : from+r.IntN(len(runes)-from+1)])
		c, err := x.Candidates(Folder{f.ID(), f.UIDValidity()}, casemap.Fold(needle))
		if err != nil {
			t.Fatal(err)
		}
		if c != nil && !c.Has(uint32(i+1)) {
			t.Fatalf("%q is hidden in %q", needle, body)
		}
	}
}

func FuzzTrigrams(f *testing.F) {
	f.Add("abc")
	f.Add("\"a\" OR *")
	x, err := Open(filepath.Join(f.TempDir(), "x"))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { x.Close() })
	tx, err := x.db.Begin()
	if err != nil {
		f.Fatal(err)
	}
	if _, _, err := enter(tx, Folder{"f", 1}); err != nil {
		f.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := x.Candidates(Folder{"f", 1}, casemap.Fold(text)); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
	})
}

func BenchmarkFill(b *testing.B) {
	bed := newBed(b)
	words := strings.Fields("lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore et dolore magna aliqua quis nostrud exercitation ullamco laboris nisi aliquip commodo consequat")
	r := mrand.New(mrand.NewPCG(1, 1))
	const n = 2000
	for i := range n {
		var text strings.Builder
		fmt.Fprintf(&text, "Subject: message %d\n\n", i)
		for text.Len() < 4000 {
			fmt.Fprintf(&text, "%s%d ", words[r.IntN(len(words))], r.IntN(40))
		}
		bed.deliver(text.String())
	}
	f := bed.inbox()
	for b.Loop() {
		path := filepath.Join(bed.root, "peyk-text")
		Remove(path)
		x, err := Open(path)
		if err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		if _, err := x.Fill(context.Background(), f, noPause); err != nil {
			b.Fatal(err)
		}
		took := time.Since(start)
		start = time.Now()
		if c, err := x.Candidates(Folder{f.ID(), f.UIDValidity()}, "ZEBRA CROSSING"); err != nil || len(c.uids) > 0 {
			b.Fatal(c, err)
		}
		none := time.Since(start)
		start = time.Now()
		c, err := x.Candidates(Folder{f.ID(), f.UIDValidity()}, "CONSEQUAT1")
		if err != nil {
			b.Fatal(err)
		}
		some := time.Since(start)
		x.Close()
		info, _ := os.Stat(path)
		b.Logf("%.0f messages/s, %d KB for %d KB; nothing found %v, %d found %v", n/took.Seconds(), info.Size()>>10, n*4, none, len(c.uids), some)
	}
}
