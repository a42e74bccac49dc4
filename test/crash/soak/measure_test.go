package soak_test

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A sample is what one process held at one time.
type sample struct {
	daemon string
	pid    int
	at     time.Time
	values [3]float64 // by measure; negative: cannot be read
}

// A measure is one thing that may leak.
type measure struct {
	index int
	name  string
	slack float64 // growth from the first third of a life to the last that is no leak
}

// Memory breathes with the garbage collector and with what is cached of
// mailboxes. The goroutines are the most that there were at one time, which is
// what the runtime keeps: a queue that has stood still is a step of hundreds,
// and one that is lost for each session or message thousands.
var measures = []measure{
	{0, "memory, KB", 16 << 10},
	{1, "open files", 40},
	{2, "goroutines at most", 1000},
}

func openFiles(pid int) int {
	all, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(all)
}

// resident is the anonymous memory of a process, in kilobytes: the rest is its
// program.
func resident(pid int) float64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	n := -1.0
	if _, rest, ok := strings.Cut(string(text), "RssAnon:"); ok {
		fmt.Sscan(rest, &n)
	}
	return n
}

// goroutines reads how many goroutines the runtime of a process has made room
// for: runtime.allglen, found by the symbols of its program.
func goroutines(pid int) float64 {
	program, err := elf.Open(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return -1
	}
	defer program.Close()
	symbols, err := program.Symbols()
	if err != nil {
		return -1
	}
	i := slices.IndexFunc(symbols, func(s elf.Symbol) bool { return s.Name == "runtime.allglen" })
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if i < 0 || err != nil {
		return -1
	}
	defer memory.Close()
	var b [8]byte
	if _, err := memory.ReadAt(b[:], int64(symbols[i].Value)); err != nil {
		return -1
	}
	return float64(binary.NativeEndian.Uint64(b[:]))
}

// sample looks at every daemon.
func (k *soak) sample() {
	for _, d := range daemons {
		text, err := os.ReadFile(filepath.Join(k.s.Dir, "run", d+".pid"))
		if err != nil {
			continue // it is being started again
		}
		var pid int
		fmt.Sscan(string(text), &pid)
		one := sample{daemon: d, pid: pid, at: time.Now(), values: [3]float64{resident(pid), float64(openFiles(pid)), goroutines(pid)}}
		if one.values[0] >= 0 {
			k.samples = append(k.samples, one)
		}
	}
}

// A trend is how a measure went in the longest life of a daemon, without its
// first minute.
type trend struct {
	n                        int
	first, last, most, slope float64 // medians of the first and the last third; slope an hour
}

func (r trend) steep(m measure) bool { return r.n >= 9 && r.last-r.first > m.slack+r.first/4 }

func (r trend) String() string {
	return fmt.Sprintf("%.0f, then %.0f, at most %.0f", r.first, r.last, r.most)
}

func (k *soak) trend(daemon string, m measure) (r trend) {
	lives := map[int][]sample{}
	longest := 0
	for _, s := range k.samples {
		if s.daemon != daemon {
			continue
		}
		lives[s.pid] = append(lives[s.pid], s)
		if len(lives[s.pid]) > len(lives[longest]) {
			longest = s.pid
		}
	}
	life := lives[longest]
	if len(life) < 10 {
		return r
	}
	life = life[6:]
	r.n = len(life)
	third := max(len(life)/3, 1)
	r.first, r.last = median(life[:third], m), median(life[len(life)-third:], m)
	var sx, sy, sxx, sxy float64
	for _, s := range life {
		x, y := s.at.Sub(life[0].at).Hours(), s.values[m.index]
		r.most = max(r.most, y)
		sx, sy, sxx, sxy = sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	if n := float64(len(life)); n*sxx > sx*sx {
		r.slope = (n*sxy - sx*sy) / (n*sxx - sx*sx)
	}
	return r
}

func median(life []sample, m measure) float64 {
	values := make([]float64, len(life))
	for i := range life {
		values[i] = life[i].values[m.index]
	}
	slices.Sort(values)
	return values[len(values)/2]
}
