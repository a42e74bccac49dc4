package table

import (
	"slices"
	"strings"

	"peyk/internal/address"
)

// text is a table as an editor sees it: lines of which a few are replaced and
// all others stay as they are.
type text struct {
	domain string
	lines  []string // without line ends
}

func newText(domain, s string) *text {
	t := &text{domain: domain}
	if s != "" {
		t.lines = strings.Split(strings.TrimSuffix(s, "\n"), "\n")
	}
	return t
}

func (t *text) String() string {
	if len(t.lines) == 0 {
		return ""
	}
	return strings.Join(t.lines, "\n") + "\n"
}

// userLines returns the lines, 0-based, that are about a user: each a group
// of one.
func (t *text) userLines(addr address.Address) [][]int {
	var groups [][]int
	for i, line := range t.lines {
		if isComment([]byte(line)) {
			continue
		}
		_, name, _ := parseUser(t.domain, []byte(line))
		if name != "" && name == address.KeyLocal(addr.Local) {
			groups = append(groups, []int{i})
		}
	}
	return groups
}

// aliasLines returns the lines, 0-based, of each entry of an alias.
func (t *text) aliasLines(addr address.Address) [][]int {
	var groups [][]int
	for _, l := range logicalLines([]byte(t.String())) {
		e, _ := parseAlias(t.domain, l.text)
		if e.Name == "" || e.Name != address.KeyLocal(addr.Local) {
			continue
		}
		group := make([]int, 0, len(l.parts))
		for _, n := range l.parts {
			group = append(group, n-1)
		}
		groups = append(groups, group)
	}
	return groups
}

// replace puts line in the place of the first group and removes the others;
// without a group the line goes to the end. An empty line only removes.
func (t *text) replace(groups [][]int, line string) {
	if len(groups) == 0 {
		if line != "" {
			t.lines = append(t.lines, line)
		}
		return
	}
	drop := make(map[int]bool)
	for _, n := range slices.Concat(groups...) {
		drop[n] = true
	}
	var kept []string
	for i, old := range t.lines {
		if i == groups[0][0] && line != "" {
			kept = append(kept, line)
		}
		if !drop[i] {
			kept = append(kept, old)
		}
	}
	t.lines = kept
}

// oldFields returns the gecos and shell fields of a users line.
func oldFields(line string) (gecos, shell string) {
	f := strings.SplitN(line, ":", 8)
	f = append(f, make([]string, 8-len(f))...)
	return f[4], f[6]
}
