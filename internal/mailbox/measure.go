package mailbox

import (
	"bytes"
	"io"
	"sync"
)

// measurers is how many files are read at a time for their size.
const measurers = 4

// measureAll finds the sizes of messages that have none: those whose names
// carry no ",S=" and ",W=".
func (f *Folder) measureAll(s *scan) {
	if !s.messages.touched {
		return
	}
	type sized struct {
		i          int
		size, wire int64
	}
	var todo []sized
	for i, m := range s.messages.All() {
		if m.FileSize < 0 {
			todo = append(todo, sized{i: i})
		}
	}
	inParallel(len(todo), func(n int) {
		t := &todo[n]
		var err error
		if t.size, t.wire, err = f.host.measure(f.path(s.messages.path(t.i))); err != nil {
			t.size = -1
		}
	})
	for _, t := range todo {
		if t.size >= 0 {
			s.messages.edit(t.i).measured(t.size, t.wire)
		}
	}
}

// measureUnknown returns the files without a UID, with their sizes. A file
// that has gone meanwhile is left out.
func (f *Folder) measureUnknown(s *scan) []found {
	fresh := make([]found, 0, len(s.unknown))
	for _, n := range s.unknown {
		fresh = append(fresh, n)
	}
	inParallel(len(fresh), func(i int) {
		n := &fresh[i]
		n.size, n.wire = sizesOf(n.base)
		if n.size >= 0 && n.wire >= 0 {
			return
		}
		var err error
		if n.size, n.wire, err = f.host.measure(f.path(n.dir + "/" + n.name)); err != nil {
			n.size, n.wire = -1, -1 // moved away meanwhile: the next scan sees it
			f.dirty.Store(true)
		}
	})
	return fresh
}

func inParallel(n int, do func(i int)) {
	if n < 2*measurers {
		for i := range n {
			do(i)
		}
		return
	}
	var wg sync.WaitGroup
	for first := range measurers {
		wg.Go(func() {
			for i := first; i < n; i += measurers {
				do(i)
			}
		})
	}
	wg.Wait()
}

// measure reads a file for its sizes on disk and on the wire.
func (h *Host) measure(path string) (size, wire int64, err error) {
	h.count.fileReads.Add(1)
	file, _, err := openRegular(path)
	if err != nil {
		return 0, 0, err
	}
	defer file.Close()
	buf := h.buffers.Get().(*[]byte)
	defer h.buffers.Put(buf)
	var c lineCounter
	_, err = io.CopyBuffer(&c, struct{ io.Reader }{file}, (*buf)[:cap(*buf)])
	return c.size, c.wire(), err
}

// lineCounter counts octets, and the line ends that will need a CR on the
// wire: LF without CR before it.
type lineCounter struct {
	size, bare int64
	cr         bool // the last octet was CR
}

func (c *lineCounter) Write(p []byte) (int, error) {
	n := len(p)
	c.size += int64(n)
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			break
		}
		if i == 0 && !c.cr || i > 0 && p[i-1] != '\r' {
			c.bare++
		}
		p, c.cr = p[i+1:], false
	}
	if len(p) > 0 {
		c.cr = p[len(p)-1] == '\r'
	}
	return n, nil
}

// wire returns the octets with CRLF line ends.
func (c *lineCounter) wire() int64 { return c.size + c.bare }
