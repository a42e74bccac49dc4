package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ticks is the unit of /proc/PID/stat on Linux: hundredths of a second.
const ticks = 100

// process is what /proc tells of one process.
type process struct {
	parent int
	cpu    float64 // seconds, with those of children that have ended
	ended  float64 // seconds of those
}

// cpu returns the CPU seconds of all processes of a server, those that ended
// included.
func (p *peer) cpu() float64 {
	total := 0.0
	for _, one := range p.tree() {
		total += one.cpu
	}
	return total
}

// cpuTime is cpu, with the resolution of nanoseconds for processes that live
// on.
func (p *peer) cpuTime() float64 {
	total := 0.0
	for pid, one := range p.tree() {
		total += one.ended
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		for _, file := range files {
			b, _ := os.ReadFile(file)
			ran, _, _ := strings.Cut(string(b), " ")
			n, _ := strconv.ParseFloat(ran, 64)
			total += n / 1e9
		}
	}
	return total
}

// settle waits until a server has nothing more to do.
func (p *peer) settle() {
	for last, tries := p.cpu(), 0; tries < 100; tries++ {
		time.Sleep(200 * time.Millisecond)
		now := p.cpu()
		if now-last < 0.02 {
			return
		}
		last = now
	}
}

// memory returns the sum over all processes of a server, in MB, of what they
// hold in memory: pss with shared pages divided among those who share them,
// rss with shared pages counted for each.
func (p *peer) memory() (pss, rss float64) {
	for pid := range p.tree() {
		b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "smaps_rollup"))
		if err != nil {
			continue
		}
		pss += kilobytes(b, "Pss:") / 1024
		rss += kilobytes(b, "Rss:") / 1024
	}
	return pss, rss
}

func kilobytes(rollup []byte, name string) float64 {
	_, rest, _ := strings.Cut(string(rollup), "\n"+name)
	f := strings.Fields(rest)
	if len(f) == 0 {
		return 0
	}
	n, _ := strconv.ParseFloat(f[0], 64)
	return n
}

// watchMemory samples the PSS of a server until stop, which returns the peak.
func (p *peer) watchMemory() (stop func() float64) {
	end, peak := make(chan struct{}), make(chan float64)
	go func() {
		highest := 0.0
		for tick := time.NewTicker(500 * time.Millisecond); ; {
			pss, _ := p.memory()
			highest = max(highest, pss)
			select {
			case <-tick.C:
			case <-end:
				tick.Stop()
				peak <- highest
				return
			}
		}
	}()
	return func() float64 { close(end); return <-peak }
}

// tree returns the processes of a server: its roots and all below them.
func (p *peer) tree() map[int]process {
	all, roots := processes(), p.roots()
	tree := make(map[int]process)
	for pid, one := range all {
		if below(all, pid, roots) {
			tree[pid] = one
		}
	}
	return tree
}

func below(all map[int]process, pid int, roots []int) bool {
	for range 20 {
		for _, root := range roots {
			if pid == root {
				return true
			}
		}
		p, ok := all[pid]
		if !ok || p.parent <= 1 {
			return false
		}
		pid = p.parent
	}
	return false
}

func processes() map[int]process {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	all := make(map[int]process, len(files))
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		pid, _ := strconv.Atoi(strings.Split(file, "/")[2])
		_, rest, ok := strings.Cut(string(b), ") ") // the name may hold anything
		f := strings.Fields(rest)
		if !ok || len(f) < 15 {
			continue
		}
		parent, _ := strconv.Atoi(f[1])
		sums := [2]float64{}
		for i, field := range f[11:15] { // utime stime cutime cstime
			n, _ := strconv.ParseFloat(field, 64)
			sums[i/2] += n
		}
		all[pid] = process{parent, (sums[0] + sums[1]) / ticks, sums[1] / ticks}
	}
	return all
}

// flushes returns how often this machine has told its disks to write their
// caches. It counts what others do, too.
func flushes() float64 {
	b, _ := os.ReadFile("/proc/diskstats")
	total := 0.0
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 19 {
			continue // an old kernel
		}
		if _, err := os.Stat("/sys/block/" + f[2] + "/device"); err != nil {
			continue // a partition, or a device made of others
		}
		n, _ := strconv.ParseFloat(f[18], 64)
		total += n
	}
	return total
}
