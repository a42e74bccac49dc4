package mailbox

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestACLWithDovecot: Dovecot's acl plugin reads the dovecot-acl that we
// write, and the reverse, and both find the same rights in it.
func TestACLWithDovecot(t *testing.T) {
	d := newDovecot(t)
	conf, err := os.ReadFile(d.config)
	if err != nil {
		t.Fatal(err)
	}
	// One user, "nobody", owns the Maildir; rights of others are asked for with acl rights -u elsewhere.
	conf = append(conf, "mail_plugins = acl\nplugin {\n  acl = vfile\n}\n"...)
	if err := os.WriteFile(d.config, conf, 0o644); err != nil {
		t.Fatal(err)
	}
	a := openAccount(t, newTestHost(t), d.root())
	if err := a.Create("Box", ""); err != nil {
		t.Fatal(err)
	}
	ours := []ACLEntry{{"anyone", false, RightLookup}, {"group=the lot", false, RightLookup | RightPost}, {"user=bob@example.org", false, RightLookup | RightRead | RightSeen},
		{"user=bob@example.org", true, RightSeen}, {"owner", false, AllRights &^ RightExpunge}}
	if err := a.ChangeACL("Box", func(l *ACL) {
		for _, e := range ours {
			l.Set(e)
		}
	}); err != nil {
		t.Fatal(err)
	}
	names := map[string]string{"lookup": "l", "read": "r", "write-seen": "s", "write": "w", "insert": "i", "post": "p", "create": "k",
		"delete": "x", "write-deleted": "t", "expunge": "e", "admin": "a"}
	theirs := func() (entries []string) {
		for _, line := range strings.Split(strings.TrimSpace(d.adm("-f", "tab", "acl", "get", "Box")), "\n")[1:] {
			id, rights, _ := strings.Cut(line, "\t")
			entries = append(entries, aclWords(id, rights, names)...)
		}
		slices.Sort(entries)
		return entries
	}
	compare := func(when string) {
		t.Helper()
		list, err := a.ACL("Box")
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, e := range list.Entries() {
			id := e.ID
			if e.Negative {
				id = "-" + id
			}
			want = append(want, id+" "+e.Rights.String())
		}
		slices.Sort(want)
		if got := theirs(); !slices.Equal(got, want) {
			t.Errorf("%s: Dovecot sees %q, we %q", when, got, want)
		}
	}
	compare("ours")
	d.adm("acl", "set", "Box", "user=carol with space", "lookup", "read", "write-deleted")
	d.adm("acl", "add", "Box", "user=bob@example.org", "insert")
	d.adm("acl", "delete", "Box", "anyone")
	compare("theirs")
	raw, err := os.ReadFile(filepath.Join(d.root(), ".Box", "dovecot-acl"))
	if err != nil || !strings.Contains(string(raw), "carol with space") {
		t.Errorf("the file is %q, %v", raw, err)
	}
	list, err := a.ACL("Box")
	if err != nil {
		t.Fatal(err)
	}
	mine := list.RightsOf(Who{User: "nobody", Owner: true})
	out := d.adm("acl", "rights", "Box")
	for name, letter := range names {
		if has := slices.Contains(strings.Fields(out), name); has != strings.Contains(mine.String(), letter) {
			t.Errorf("the owner's right %s: Dovecot %v, we %q", name, has, mine)
		}
	}
}

// aclWords makes entries, "ID letters", of a line that doveadm prints:
// rights, and rights that are taken behind a dash.
func aclWords(id, rights string, names map[string]string) (entries []string) {
	var plus, minus Rights
	seenPlus := !strings.Contains(rights, "-") || rights == ""
	for _, word := range strings.Fields(rights) {
		name, negative := word, false
		if n, ok := strings.CutPrefix(word, "-"); ok && names[n] != "" {
			name, negative = n, true
		}
		r, _ := ParseRights(names[name])
		if negative {
			minus |= r
			continue
		}
		plus |= r
		seenPlus = true
	}
	if seenPlus {
		entries = append(entries, id+" "+plus.String())
	}
	if minus != 0 {
		entries = append(entries, "-"+id+" "+minus.String())
	}
	return entries
}
