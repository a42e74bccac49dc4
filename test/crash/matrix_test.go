package crash_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"peyk/test/crash/supervise"
)

// A path is one way of a message or a setting to the disk.
type path struct {
	name     string
	settings []string
	looks    bool               // calls that only read are made to fail, too
	prepare  func(w *world)     // fills w.dir
	learn    func(w *world) any // runs it without a fault, and returns what is right
	try      func(r *run, right any)
}

// errnos are what a disk, and whoever manages it, may say.
var errnos = []syscall.Errno{syscall.EIO, syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EMFILE, syscall.ENOMEM, syscall.EINTR, syscall.ESTALE}

// columns are the faults of the matrix, each at every call in turn.
func columns() []supervise.Fault {
	var all []supervise.Fault
	for _, e := range errnos {
		all = append(all, supervise.Fault{Action: supervise.Fail, Errno: e})
	}
	all = append(all, supervise.Fault{Action: supervise.Short}, supervise.Fault{Action: supervise.ShortFull, Errno: syscall.ENOSPC},
		supervise.Fault{Action: supervise.FailOn, Errno: syscall.ENOSPC}, supervise.Fault{Action: supervise.Kill})
	wanted := os.Getenv("PEYK_CRASH_FAULTS") // such as "EIO kill"
	return slices.DeleteFunc(all, func(f supervise.Fault) bool {
		return wanted != "" && !slices.Contains(strings.Fields(wanted), title(f))
	})
}

func title(f supervise.Fault) string {
	switch f.Action {
	case supervise.Fail:
		return unix.ErrnoName(f.Errno)
	case supervise.FailOn:
		return unix.ErrnoName(f.Errno) + "+"
	case supervise.ShortFull:
		return "half"
	}
	return string(f.Action)
}

// A cell counts what happened to one path under one fault.
type cell struct{ calls, runs, bad int }

// A matrix is the table of all cells.
type matrix struct {
	mu    sync.Mutex
	cells map[string]map[string]cell
}

func (m *matrix) add(path, column string, c cell) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cells[path] == nil {
		m.cells[path] = map[string]cell{}
	}
	m.cells[path][column] = c
}

// sweep runs a path with a fault at its first call, its second and so on,
// until a run ends without the fault.
func sweep(t *testing.T, w *world, p path, right any, fault supervise.Fault) (c cell) {
	first, err := strconv.Atoi(os.Getenv("PEYK_CRASH_FROM")) // to look at one of them again
	if err != nil {
		first = 1
	}
	for fault.N = first; ; fault.N++ {
		w.reset(p.name)
		r := &run{world: w, fault: fault}
		p.try(r, right)
		c.runs++
		if len(r.problems) > 0 {
			c.bad++
			t.Errorf("%s, %s (%s):\n\t%s", p.name, fault, r.call, strings.Join(r.problems, "\n\t"))
			if os.Getenv("PEYK_CRASH_LOG") != "" {
				t.Log(w.log())
			}
		}
		if !r.hit {
			return c
		}
		c.calls++
	}
}

// cross runs each path under each fault, as many side by side as -parallel
// says.
func cross(t *testing.T, paths []path, faults []supervise.Fault) *matrix {
	t.Helper()
	bin := build(t)
	m := &matrix{cells: map[string]map[string]cell{}}
	t.Run("paths", func(t *testing.T) {
		for _, p := range paths {
			t.Run(p.name, func(t *testing.T) {
				t.Parallel()
				crossOne(t, bin, p, faults, m)
			})
		}
	})
	return m
}

func crossOne(t *testing.T, bin string, p path, faults []supervise.Fault, m *matrix) {
	start := time.Now()
	w := newWorld(t, bin, p.settings...)
	p.prepare(w)
	w.keep(p.name)
	w.reset(p.name)
	right := p.learn(w)
	for _, f := range faults {
		m.add(p.name, title(f), sweep(t, w, p, right, f))
	}
	t.Logf("%s %.0f s", m.row(p.name), time.Since(start).Seconds())
}

func (c cell) plus(d cell) cell { return cell{c.calls + d.calls, c.runs + d.runs, c.bad + d.bad} }

// row is the line of one path.
func (m *matrix) row(name string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-22s", name)
	var sum cell
	for _, f := range columns() {
		c, ok := m.cells[name][title(f)]
		word := fmt.Sprint(c.calls)
		if !ok {
			word = "-"
		}
		if c.bad > 0 {
			word += fmt.Sprintf("/%d!", c.bad)
		}
		fmt.Fprintf(&b, "%8s", word)
		sum = sum.plus(c)
	}
	fmt.Fprintf(&b, "%8d%5d", sum.runs, sum.bad)
	return b.String()
}

// String is the table: for each path the number of calls that were hit under
// each fault, with "/n!" where n runs showed something wrong.
func (m *matrix) String() string {
	names := []string{}
	for name := range m.cells {
		names = append(names, name)
	}
	slices.Sort(names)
	var b strings.Builder
	fmt.Fprintf(&b, "%-22s", "path")
	for _, f := range columns() {
		fmt.Fprintf(&b, "%8s", title(f))
	}
	b.WriteString("    runs  bad\n")
	var sum cell
	for _, name := range names {
		b.WriteString(m.row(name) + "\n")
		for _, c := range m.cells[name] {
			sum = sum.plus(c)
		}
	}
	fmt.Fprintf(&b, "%d paths, %d faults, %d runs, %d bad\n", len(names), sum.calls, sum.runs, sum.bad)
	return b.String()
}
