package mailbox

import (
	"bytes"
	"testing"
)

// FuzzACL: whatever stands in a dovecot-acl, its lines are kept, and what one
// has by it does not change when it is written and read again.
func FuzzACL(f *testing.F) {
	f.Add("owner lrswipkxtea\nuser=bob lr :post\n-user=bob r\n\"group=the \\\"lot\" l\n# x\nanyone\nuser=z lqZ\n")
	f.Fuzz(func(t *testing.T, text string) {
		l := parseACL(text)
		again := parseACL(string(l.format()))
		for _, w := range []Who{{User: "bob"}, {User: "bob", Owner: true}, {User: "eve", Groups: []string{"the \"lot"}}, {}} {
			r := l.RightsOf(w)
			if r != again.RightsOf(w) || r > AllRights || w.Owner && !r.Has(ownersRights) {
				t.Fatalf("%q gives %+v %v, then %v", text, w, r, again.RightsOf(w))
			}
		}
		for _, e := range l.Entries() {
			if got, ok := parseACLLine(e.line()); !ok || got != e {
				t.Fatalf("%+v is written %q and read %+v", e, e.line(), got)
			}
		}
	})
}

func FuzzMetadataFile(f *testing.F) {
	f.Add("shared\t/shared/comment\ta%00%25\nowner\t/private/x\t\nbroken\n", []byte("a%\x00\n\xff"))
	f.Fuzz(func(t *testing.T, text string, value []byte) {
		first := formatMetadata(parseMetadata(text))
		if again := formatMetadata(parseMetadata(string(first))); !bytes.Equal(first, again) {
			t.Fatalf("%q becomes %q, then %q", text, first, again)
		}
		if got, ok := unescapeMeta(string(escapeMeta(nil, value))); !ok || !bytes.Equal(got, value) {
			t.Fatalf("%q comes back as %q", value, got)
		}
	})
}

func FuzzQuotaFile(f *testing.F) {
	f.Add("1000S,5C,7M\n")
	f.Fuzz(func(t *testing.T, text string) {
		if q, ok := parseQuotaFile(text); ok && (q.Bytes < 0 || q.Messages < 0 || q.Mailboxes < 0) {
			t.Fatalf("%q: %+v", text, q)
		}
	})
}

func FuzzSharedList(f *testing.F) {
	f.Add("alice@example.org\tuser=bob\n#\t\nx\tanyone\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, line := range parseShared(text) {
			if line.owner == "" || class(line.id) == 0 {
				t.Fatalf("%q: %+v", text, line)
			}
		}
	})
}
