package imapd

import (
	"bytes"
	"crypto/rand"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"peyk/internal/mailbox"
	"peyk/test/imapwire"
)

// FuzzHostileText sends texts that try to leave their place: a subject, a
// display name, a keyword and a mailbox name go in, and a strict reader takes
// out what went in, or what it is documented to become.
func FuzzHostileText(f *testing.F) {
	for _, s := range []string{
		"plain", "a\r\n* 1 EXPUNGE\r\n", "\" UID 9) \"", "\\", "\\\"", ")", "(", "{3}", "{3+}\r\nabc", "~{1}\r\nx", "nul\x00nul", "\xff\xfe8bit", "پیک", "a\rb", "\r", "\n\n",
		"]", "[ALERT]", "NIL", "nil", "", " ", "\t", "%*", "&", "&-", "&AGE-", "a.b", "..", "/", "~", strings.Repeat("x", 300), strings.Repeat("\"", 90), "\x7f\x01\x1b[2J", "=?utf-8?q?=0D=0A?=",
	} {
		f.Add([]byte(s), s, s)
	}
	f.Fuzz(func(t *testing.T, text []byte, keyword, box string) {
		if len(text) > 4000 || len(keyword) > 4000 || len(box) > 4000 {
			return
		}
		o, field := hostileMailbox(t, text)
		keyword = strings.NewReplacer("\r", "", "\n", "", "{", "").Replace(keyword) // a line is what this is about
		input := "a SELECT INBOX\r\nb FETCH 1 (ENVELOPE BODY.PEEK[] BODY.PEEK[HEADER.FIELDS (SUBJECT)] BODYSTRUCTURE)\r\n" +
			"c STORE 1 +FLAGS (" + keyword + ")\r\nd FETCH 1 FLAGS\r\ne CREATE " + imapwire.Lit(imapwire.EncodeName(box)) + "\r\nf LIST \"\" *\r\ng STATUS " +
			imapwire.Lit(box) + " (MESSAGES)\r\ni DELETE " + imapwire.Lit(imapwire.EncodeName("no "+box)) + "\r\nh LOGOUT\r\n"
		out := talk(o, []byte(input))
		r := imapwire.NewReader(bytes.NewReader(out))
		r.NUL = bytes.IndexByte(text, 0) >= 0
		all, err := r.ReadAll()
		if err != nil {
			t.Fatalf("%v\n%q", err, out)
		}
		checkHostile(t, all, field, keyword, box)
	})
}

// hostileMailbox is a mailbox with one message, whose Subject and whose
// sender's name are the text, kept inside the field by folding.
func hostileMailbox(t *testing.T, text []byte) (o *Options, field []byte) {
	o = &Options{Host: newHost(t), Now: time.Now, Rand: rand.Reader, Limits: DefaultLimits(), Preauth: filepath.Join(t.TempDir(), "m"), Hostname: "h"}
	field = bytes.ReplaceAll(text, []byte("\n"), []byte("\n "))
	message := "Subject: " + string(field) + "\nFrom: \"" + string(field) + "\" <a@b>\nContent-Type: text/x; name=\"" + string(field) + "\"\n\nbody " + string(text)
	errs := o.Host.Deliver([]mailbox.Target{{Root: o.Preauth}}, func(w io.Writer) error {
		_, err := io.WriteString(w, message)
		return err
	})
	if errs[0] != nil {
		t.Fatal(errs[0])
	}
	return o, field
}

func checkHostile(t *testing.T, all []*imapwire.Response, field []byte, keyword, box string) {
	t.Helper()
	var flags, boxes []string
	done := map[string]string{}
	for _, r := range all {
		done[r.Tag] = r.Kind
		if v, ok := r.Item("ENVELOPE"); ok {
			if got, want := v.List[1].Text, unfolded(field); v.List[1].Kind != imapwire.Nil && got != want {
				t.Errorf("subject %q is %q, want %q", field, got, want)
			}
		}
		if v, ok := r.Item("FLAGS"); ok && r.Kind == "FETCH" {
			flags = flags[:0]
			for _, flag := range v.List {
				flags = append(flags, flag.Text)
			}
		}
		if r.Kind == "LIST" {
			name, _ := imapwire.DecodeName(r.Args[2].Text)
			boxes = append(boxes, name)
		}
	}
	if done["b"] != "OK" || done["d"] != "OK" || done["f"] != "OK" || done["h"] != "OK" {
		t.Errorf("completions: %v", done)
	}
	if done["c"] == "OK" {
		for _, want := range strings.Fields(keyword) {
			if !namedIn(flags, want) && !strings.EqualFold(want, `\Recent`) {
				t.Errorf("%q was stored, the flags are %q", want, flags)
			}
		}
	}
	if done["e"] == "OK" && !namedIn(boxes, strings.TrimRight(box, separator)) {
		t.Errorf("%q was created, the mailboxes are %q", box, boxes)
	}
	if done["g"] == "OK" && done["e"] != "OK" && !namedIn(boxes, mailbox.Inbox) {
		t.Errorf("STATUS of %q", box)
	}
}

// unfolded is what ENVELOPE tells of a field: without line ends, a lone CR is
// a space, a NUL is U+FFFD, runs of blanks are one space.
func unfolded(field []byte) string {
	s := strings.NewReplacer("\r\n", "", "\n", "", "\r", " ", "\x00", "\ufffd").Replace(string(field))
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == '\t' }), " ")
}

func namedIn(all []string, want string) bool {
	for _, s := range all {
		if strings.EqualFold(s, want) {
			return true
		}
	}
	return false
}
