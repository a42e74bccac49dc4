package crash_test

import (
	"path/filepath"
	"regexp"
	"strings"

	"peyk/test/crash/supervise"
)

// messageName is the name of a file with a message, in the drop or in a
// Maildir; sizes and flags come and go.
var messageName = regexp.MustCompile(`^([0-9]+\.M[^,:]*|[0-9a-z]{31})`)

// unflushed returns what a power cut could take away from messages after these
// calls: octets that were written and not flushed, and names that neither
// their directory's flush nor, later, one of the file has made durable.
func unflushed(calls []supervise.Call) (all []string) {
	content, name := map[string]bool{}, map[string]string{} // by message: dirty; and its new directory
	file := map[string]string{}                             // by message: the file's older name
	for _, c := range calls {
		id := messageName.FindString(filepath.Base(c.Path))
		switch {
		case strings.HasSuffix(c.Name, "sync"): // fsync, fdatasync
			delete(content, id)
			for message, dir := range name {
				if dir == c.Path || message == id || file[message] == id {
					delete(name, message)
				}
			}
		case id == "": // no message after all, such as maildirsize
			delete(content, messageName.FindString(filepath.Base(c.From)))
		case strings.Contains(c.Name, "write"):
			content[id] = true
		case strings.HasPrefix(c.Name, "rename"), strings.HasPrefix(c.Name, "link"):
			name[id] = filepath.Dir(c.Path)
			file[id] = messageName.FindString(filepath.Base(c.From))
		}
	}
	for id := range content {
		all = append(all, "the content of "+id)
	}
	for id := range name {
		all = append(all, "the name of "+id)
	}
	return all
}

// promised is called when the other side has heard that a message is safe.
func (r *run) promised(p *supervise.Process) {
	if r.fault.N > 0 {
		return
	}
	for _, what := range unflushed(p.Calls()) {
		r.problem("promised, and not flushed: %s", what)
	}
}
