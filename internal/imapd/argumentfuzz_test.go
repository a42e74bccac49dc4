package imapd

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"

	"peyk/internal/mailbox"
	"peyk/test/imapwire"
)

// FuzzUTF8Name: a mailbox that a client may name in UTF-8 has that name for
// all clients, and what we send is the name that it is.
func FuzzUTF8Name(f *testing.F) {
	for _, name := range []string{"پیک & co", "&AGE-", "\"\\", "NIL", "a]b", "é", "e\u0301", "\u200c", "INBOX", "%*", "a b", "\u2028"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if mailbox.CheckName(raw) != nil {
			return
		}
		name := mailbox.CanonicalName(raw)
		for _, on := range []features{0, rev2, utf8Accept, rev2 | utf8Accept} {
			for _, sent := range [][]byte{on.appendName(nil, name), on.appendQuotedName(nil, name)} {
				if head, rest, ok := bytes.Cut(sent, []byte("}\r\n")); ok { // a literal, for many quotes
					want := encodeName(name)
					if on.utf8() {
						want = name
					}
					if string(head) != fmt.Sprintf("{%d", len(rest)) || string(rest) != want || !isASCII(want) {
						t.Fatalf("%q is sent as %q", name, sent)
					}
					continue
				}
				if bytes.ContainsAny(sent, "\r\n\x00") || !on.utf8() && !isASCII(string(sent)) {
					t.Fatalf("%q is sent as %q to a client with %b", name, sent, on)
				}
				p := parserOf(on, string(sent))
				back, err := p.astring()
				if err == nil {
					back, err = on.decodeName(back)
				}
				if err != nil || !p.done() || back != name {
					t.Fatalf("%q is sent as %q and read as %q, %v", name, sent, back, err)
				}
			}
			if got, err := on.decodeName(encodeName(name)); !on.utf8() && (err != nil || got != name) {
				t.Fatalf("%q as %q is %q, %v", name, encodeName(name), got, err)
			}
			if got, err := on.decodeName(raw); (on.utf8() || !isASCII(raw)) && (err != nil || got != name) {
				t.Fatalf("%q is %q, %v", raw, got, err)
			}
		}
	})
}

// FuzzRights: SETACL does with sets of rights what its letters say.
func FuzzRights(f *testing.F) {
	f.Add("lrs", "+i")
	f.Add("lrswipkxtea", "-cd")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, first, mod string) {
		has, ok := mailbox.ParseRights(first)
		want, valid := lettersOf(first)
		if ok != valid {
			t.Fatalf("%q: %v", first, ok)
		}
		if !ok {
			return
		}
		got, ok := modified(has, mod)
		rest, add, take := mod, strings.HasPrefix(mod, "+"), strings.HasPrefix(mod, "-")
		if add || take {
			rest = mod[1:]
		}
		change, valid := lettersOf(rest)
		if ok != valid {
			t.Fatalf("%q: %v", mod, ok)
		}
		if !ok {
			return
		}
		for _, letter := range "lrswipkxtea" {
			was, in := want[letter], change[letter]
			is := in && !take || (add || take) && was && !(take && in)
			if strings.ContainsRune(got.String(), letter) != is {
				t.Fatalf("%q, then %q: %q", first, mod, got)
			}
		}
		if again, ok := mailbox.ParseRights(got.String()); !ok || again != got {
			t.Fatalf("%q is read as %q", got, again)
		}
		// The virtual rights stand for some of theirs (RFC 4314 §2.1.1).
		if again, ok := mailbox.ParseRights(got.Wire()); !ok || !again.Has(got) || strings.ContainsRune(got.Wire(), 'c') != (got&(mailbox.RightCreate|mailbox.RightRemove) != 0) {
			t.Fatalf("%q is sent as %q", got, got.Wire())
		}
	})
}

// lettersOf is the set of rights of some letters.
func lettersOf(letters string) (map[rune]bool, bool) {
	set := map[rune]bool{}
	for i := range len(letters) {
		switch c := rune(letters[i]); {
		case c == 'c':
			set['k'], set['x'] = true, true
		case c == 'd':
			set['t'], set['e'] = true, true
		case c < 0x80 && strings.ContainsRune("lrswipkxtea", c):
			set[c] = true
		default:
			return nil, false
		}
	}
	return set, true
}

// FuzzMetadataQuery: GETMETADATA is understood as it is written, and chooses
// what a slow model does.
func FuzzMetadataQuery(f *testing.F) {
	for _, seed := range []string{`"/shared/comment"`, `(/private/a "/shared/b")`, `(DEPTH 1) /private`, `(MAXSIZE 3 DEPTH infinity) (/shared /private/a)`, `(DEPTH 0 DEPTH 1) (/private/A/b)`} {
		f.Add(seed)
	}
	tree := []mailbox.MetaEntry{{Name: "/private/a"}, {Name: "/private/a/b"}, {Name: "/private/a/b/c"}, {Name: "/private/ab"}, {Name: "/shared/comment"}, {Name: "/shared/vendor/x/y"}}
	f.Fuzz(func(t *testing.T, text string) {
		parse := func(text string) (*metaQuery, bool) {
			q, p := &metaQuery{maxSize: -1}, parserOf(0, text)
			if p.optionsNext() && p.metaOptions(q) != nil {
				return nil, false
			}
			return q, p.metaEntries(q) == nil && p.done()
		}
		q, ok := parse(text)
		if !ok || strings.Contains(text, "{") {
			return
		}
		written := ""
		if q.maxSize >= 0 {
			written = fmt.Sprintf(" MAXSIZE %d", q.maxSize)
		}
		written = "(" + strings.TrimPrefix(written+" DEPTH "+[]string{"infinity", "0", "1"}[q.depth+1], " ") + ") ("
		for i, e := range q.entries {
			if scopeOf(e) == "" || e != strings.ToLower(e) || len(e) > maxEntry || strings.Contains(e, "//") {
				t.Fatalf("%q: entry %q", text, e)
			}
			written += strings.Repeat(" ", min(i, 1)) + string(appendAstring(nil, e))
		}
		if again, ok := parse(written + ")"); !ok || !reflect.DeepEqual(again, q) {
			t.Fatalf("%q is %+v, written %q: %+v", text, q, written, again)
		}
		got := map[string]bool{}
		for _, e := range q.choose(tree) {
			if got[e.Name] {
				t.Fatalf("%q: %s twice", text, e.Name)
			}
			got[e.Name] = true
		}
		for _, e := range tree {
			if want := slices.ContainsFunc(q.entries, func(w string) bool { return inMetaModel(w, e.Name, q.depth) }); got[e.Name] != want {
				t.Fatalf("%q of depth %d: %s is chosen: %v", q.entries, q.depth, e.Name, got[e.Name])
			}
		}
	})
}

// inMetaModel climbs from an entry to the one that is asked for.
func inMetaModel(want, name string, depth int) bool {
	for up := 0; name != ""; up++ {
		if name == want {
			return depth < 0 || up <= depth
		}
		name = parentBy(name, "/")
	}
	return false
}

// FuzzGroups: NOTIFY is understood as it is written.
func FuzzGroups(f *testing.F) {
	for _, seed := range []string{" (selected (MessageNew (uid body.peek[header.fields (from to subject)]) MessageExpunge)) (subtree Lists (MessageNew MessageExpunge))",
		" STATUS (mailboxes (a b \"c d\") (MailboxName)) (personal NONE)", " (SELECTED-DELAYED MessageNew MessageExpunge FlagChange) (inboxes (ServerMetadataChange))"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n := &notifying{}
		if strings.ContainsAny(text, "{~") || parserOf(0, text).notifySet(n) != nil {
			return
		}
		written := groupsText(n)
		again := &notifying{}
		if err := parserOf(0, written).notifySet(again); err != nil || !reflect.DeepEqual(again, n) {
			t.Fatalf("%q is %+v, written %q: %+v, %v", text, n, written, again, err)
		}
	})
}

func groupsText(n *notifying) string {
	var b strings.Builder
	if n.status {
		b.WriteString(" STATUS")
	}
	for _, g := range n.groups {
		b.WriteString(" (" + g.filter)
		for i, name := range g.names {
			b.WriteString([]string{" (", " "}[min(i, 1)])
			b.Write(features(0).appendName(nil, cmp.Or(name, "."))) // a name that no mailbox has
		}
		if len(g.names) > 0 {
			b.WriteString(")")
		}
		b.WriteString(" " + eventsText(&g) + ")")
	}
	return strings.NewReplacer(" .)", ` "&")`, " . ", ` "&" `, "(.", `("&"`).Replace(b.String())
}

func eventsText(g *eventGroup) string {
	var all []string
	for i, name := range []string{"messageNew", "messageExpunge", "flagChange", "mailboxName", "subscriptionChange", "mailboxMetadataChange", "serverMetadataChange"} {
		if g.events&(1<<i) == 0 {
			continue
		}
		if i == 0 && g.items != nil {
			name += " (" + requestText(g.items) + ")"
		}
		all = append(all, name)
	}
	if all == nil {
		return "NONE"
	}
	return "(" + strings.Join(all, " ") + ")"
}

// requestText writes the items of a FETCH.
func requestText(r *request) string {
	var all []string
	for name, on := range map[string]bool{"UID": r.UID, "FLAGS": r.Flags, "INTERNALDATE": r.InternalDate, "RFC822.SIZE": r.RFC822Size, "MODSEQ": r.ModSeq, "SAVEDATE": r.saveDate,
		"EMAILID": r.emailID, "THREADID": r.threadID, "ENVELOPE": r.Envelope, "BODYSTRUCTURE": r.BodyStructure != nil, "BODY": r.body} {
		if on {
			all = append(all, name)
		}
	}
	if r.preview {
		all = append(all, "PREVIEW"+map[bool]string{true: " (LAZY)"}[r.extra&mailbox.NeedQuick != 0])
	}
	for i := range r.sections {
		all = append(all, itemOf(&r.sections[i]))
	}
	return strings.Join(all, " ")
}

// FuzzSortArguments: SORT and THREAD are understood as they are written, and
// messages are put in the order of a naive sort.
func FuzzSortArguments(f *testing.F) {
	f.Add("(REVERSE SIZE) UTF-8 ALL", []byte{3, 1, 2, 1})
	f.Add("(SIZE REVERSE ARRIVAL displayfrom) us-ascii UID 1:3", []byte{})
	f.Add("RETURN (PARTIAL -1:-3 COUNT) (REVERSE SUBJECT DATE TO) UTF-8 OR SEEN LARGER 5", []byte{9, 9, 9})
	f.Fuzz(func(t *testing.T, text string, sizes []byte) {
		if strings.Contains(text, "{") {
			return
		}
		q := &query{}
		criteria, err := parserOf(0, " "+text).sortArguments(q)
		if err != nil {
			return
		}
		written := ""
		for i, c := range criteria {
			written += strings.Repeat(" ", min(i, 1)) + map[bool]string{true: "reverse "}[c.reverse] + c.by
		}
		again := &query{}
		rest := " UTF-8 ALL"
		if q.ranked {
			rest = " UTF-8 FUZZY SUBJECT x"
		}
		if got, err := parserOf(0, " ("+written+")"+rest).sortArguments(again); err != nil || !slices.Equal(got, criteria) || len(got) > maxCriteria {
			t.Fatalf("%q is %v, written %q: %v, %v", text, criteria, written, got, err)
		}
		if slices.ContainsFunc(criteria, func(c criterion) bool { return c.by != "SIZE" && c.by != byRelevancy }) {
			return
		}
		messages, found := make([]mailbox.Message, len(sizes)), &hits{}
		want := make([]uint32, len(sizes))
		scores := &query{scores: slices.Clone(sizes)}
		for i := range sizes {
			messages[i] = mailbox.Message{UID: uint32(i + 1), Size: int64(sizes[i] % 7)}
			want[i] = uint32(i)
			found.add(i)
		}
		s := &session{sel: &selected{view: mailbox.ListOf(messages)}}
		slices.SortStableFunc(want, func(a, b uint32) int {
			for _, c := range criteria {
				d := cmp.Compare(messages[a].Size, messages[b].Size)
				if c.by == byRelevancy {
					d = cmp.Compare(scores.scoreOf(int(b)), scores.scoreOf(int(a)))
				}
				if c.reverse {
					d = -d
				}
				if d != 0 {
					return d
				}
			}
			return 0
		})
		if got, err := s.sorted(scores, found, criteria); err != nil || !slices.Equal(got, want) {
			t.Fatalf("%v by %v: %v, want %v, %v", sizes, criteria, got, want, err)
		}
	})
}

// FuzzReplace: REPLACE leaves the mailbox as it was, or with the new message
// in place of the one that was named, and tells which.
func FuzzReplace(f *testing.F) {
	f.Add(false, "2", "(\\Seen) ", []byte("a: b\r\n\r\nx"))
	f.Add(true, "3", "", []byte("new"))
	f.Add(false, "*", "\" 1-Jan-2020 00:00:00 +0000\" ", []byte("new"))
	f.Add(true, "9", "(kw", []byte{0})
	f.Fuzz(func(t *testing.T, uid bool, which, options string, message []byte) {
		if len(which)+len(options) > 200 || strings.ContainsAny(which+options, "\r\n{") || len(message) > 4000 {
			return
		}
		o := maildirOf(t, 3, func(i int) string { return fmt.Sprintf("old %d\n", i+1) })
		command := "b REPLACE "
		if uid {
			command = "b UID REPLACE "
		}
		out, _ := converse(t, o, "a SELECT INBOX", command+which+" INBOX "+options+imapwire.Lit(string(message)), "c FETCH 1:* (BODY.PEEK[])")
		r := imapwire.NewReader(bytes.NewReader(out))
		r.NUL = true
		all, err := r.ReadAll()
		if err != nil && err != io.EOF {
			t.Fatalf("%v: %q", err, out)
		}
		var texts []string
		done, removed := "", 0
		for _, one := range all {
			if v, ok := one.Item("BODY[]"); ok {
				texts = append(texts, v.Text)
			}
			if one.Kind == "EXPUNGE" {
				removed = int(one.Num)
			}
			if one.Tag == "b" {
				done = one.Kind
			}
		}
		want := []string{"old 1\r\n", "old 2\r\n", "old 3\r\n"}
		if done == "OK" {
			if removed < 1 || removed > 3 || fmt.Sprint(removed) != strings.TrimLeft(strings.ReplaceAll(which, "*", "3"), "0") {
				t.Fatalf("REPLACE %s removed %d: %q", which, removed, out)
			}
			want = append(slices.Delete(want, removed-1, removed), onWire(message))
		}
		if !slices.Equal(texts, want) || done == "" {
			t.Fatalf("REPLACE %s %q: %s, the messages are %q, want %q", which, options, done, texts, want)
		}
	})
}

// onWire is a message with CRLF line ends, as a Maildir gives it back.
func onWire(message []byte) string {
	stored := bytes.ReplaceAll(message, []byte("\r\n"), []byte("\n"))
	var b strings.Builder
	for i, c := range stored {
		if c == '\n' && (i == 0 || stored[i-1] != '\r') {
			b.WriteByte('\r')
		}
		b.WriteByte(c)
	}
	return b.String()
}
