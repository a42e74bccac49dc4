package mailbox

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// uniqueName returns a base name that no other message has: time, process,
// a counter and randomness, then the host (the delivery identifier of
// maildir(5)), without sizes.
func (h *Host) uniqueName() (string, error) {
	var r [4]byte
	if err := h.random(r[:]); err != nil {
		return "", err
	}
	return h.nameWith(r[:]), nil
}

// nameFor is uniqueName for a delivery: where the message has an identifier,
// its hash stands in place of the randomness, to be found again (again.go).
func (h *Host) nameFor(ident string) (string, error) {
	if ident == "" {
		return h.uniqueName()
	}
	mark := markOf(ident)
	return h.nameWith(binary.BigEndian.AppendUint64(nil, uint64(mark))), nil
}

func (h *Host) nameWith(r []byte) string {
	now := h.o.Now()
	return fmt.Sprintf("%d.M%06dP%dQ%dR%x.%s", now.Unix(), now.Nanosecond()/1000, h.pid, h.counter.Add(1), r, h.hostname)
}

// hostInName escapes what may not stand in a base name.
func hostInName(host string) string {
	return strings.NewReplacer("/", `\057`, ":", `\072`, ",", `\054`, "\n", "", "\r", "").Replace(host)
}

// withSizes adds the sizes on disk and on the wire to a name, so that nobody
// needs to open the file to learn them.
func withSizes(name string, size, wire int64) string {
	return fmt.Sprintf("%s,S=%d,W=%d", name, size, wire)
}

// mend gives a usable name to files whose name cannot stand in the uidlist,
// such as those with a line end in it: mail must not stay hidden.
func (f *Folder) mend(s *scan) {
	for _, bad := range s.strange {
		base, err := f.host.uniqueName()
		if err != nil {
			return
		}
		_, info := splitName(bad.name)
		flags, keywords := parseInfo("", info)
		name := base + string(appendInfo(nil, flags, keywords))
		if err := f.host.o.Disk.MoveUnsynced(f.path(bad.dir+"/"+bad.name), f.path("cur/"+name)); err != nil {
			f.host.trouble("cannot rename a file with a bad name", f.path(bad.dir), err)
			continue
		}
		s.unknown[base] = found{dir: "cur", name: name, base: base}
		s.newOK, s.curOK = false, false
	}
}
