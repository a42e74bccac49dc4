package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ticks is the unit of /proc/PID/stat on Linux: hundredths of a second.
const ticks = 100

// process is what /proc tells of one process.
type process struct {
	parent int
	cpu    float64 // seconds, with those of children that have ended
}

// treeCPU returns the CPU seconds of the processes and all below them, those
// that ended included.
func treeCPU(roots []int) float64 {
	all := processes()
	total := 0.0
	for pid, p := range all {
		if below(all, pid, roots) {
			total += p.cpu
		}
	}
	return total
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
		sum := 0.0
		for _, field := range f[11:15] { // utime stime cutime cstime
			n, _ := strconv.ParseFloat(field, 64)
			sum += n
		}
		all[pid] = process{parent, sum / ticks}
	}
	return all
}
