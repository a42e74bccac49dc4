package crash_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"peyk/test/crash/supervise"
)

// A mailctlPath is one command of mailctl on a configuration below dir.
type mailctlPath struct {
	name  string
	args  []string
	stdin string
	file  string // what it changes
	has   string // what stands there afterwards and not before; "-" in front: the other way round
	again string // what a second try may say when the first has done it
}

var mailctlPaths = []mailctlPath{
	{name: "user add", args: []string{"user", "add", "carol@example.test"}, stdin: "secret word\n", file: "example.test/users", has: "carol:", again: "exists"},
	{name: "user passwd", args: []string{"user", "passwd", "alice@example.test"}, stdin: "secret word\n", file: "example.test/users", has: "-alice:{PLAIN}secret"},
	{name: "user remove", args: []string{"user", "remove", "bob@example.test"}, file: "example.test/users", has: "-bob:", again: "no account"},
	{name: "alias add", args: []string{"alias", "add", "info@example.test", "alice@example.test"}, file: "example.test/aliases", has: "info:"},
	{name: "alias remove", args: []string{"alias", "remove", "postmaster@example.test"}, file: "example.test/aliases", has: "-postmaster:", again: "no alias"},
	{name: "domain add", args: []string{"domain", "add", "example.com"}, file: "", has: "example.com", again: "already"},
	{name: "domain remove", args: []string{"domain", "remove", "gone.example"}, file: "", has: "-gone.example", again: "not a local domain"},
}

func (p mailctlPath) path() path {
	return path{name: "mailctl " + p.name, prepare: p.prepare, learn: p.learn, try: p.try}
}

func (p mailctlPath) prepare(w *world) {
	if err := copyTree(w.control, w.dir); err != nil {
		w.Fatal(err)
	}
	w.write(w.dir+"/domains/gone.example/users", "x:{PLAIN}secret\n")
	w.write(w.dir+"/domains/gone.example/aliases", "y: x\n")
}

func (p mailctlPath) learn(w *world) any {
	w.Helper()
	r := &run{world: w}
	p.try(r, nil)
	if len(r.problems) > 0 {
		w.Fatalf("without a fault: %q\n%s", r.problems, w.log())
	}
	return nil
}

// state is the file that changes, or the list of the domains.
func (p mailctlPath) state(w *world) string {
	if p.file != "" {
		b, _ := os.ReadFile(w.dir + "/domains/" + p.file)
		return string(b)
	}
	var all []string
	entries, _ := os.ReadDir(w.dir + "/domains")
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

// isDone reports whether the state is the one after the command; what else
// stands in the file must always stand there.
func (p mailctlPath) isDone(r *run, state string) bool {
	for _, word := range []string{"alice:", "postmaster:", "example.test"} {
		file := map[string]string{"alice:": "example.test/users", "postmaster:": "example.test/aliases"}[word]
		if file == p.file && "-"+word != p.has && !strings.Contains(state, word) {
			r.problem("%s is gone from %q", word, state)
		}
	}
	if word, gone := strings.CutPrefix(p.has, "-"); gone {
		return !strings.Contains(strings.ReplaceAll(state, ".removed-", "."), word) || strings.Contains(state, ".removed-")
	}
	return strings.Contains(state, p.has)
}

func (p mailctlPath) try(r *run, _ any) {
	in, err := os.CreateTemp(r.base, "stdin")
	if err != nil {
		r.Fatal(err)
	}
	defer os.Remove(in.Name())
	defer in.Close()
	in.WriteString(p.stdin)
	in.Seek(0, 0)
	log := r.logFile()
	defer log.Close()
	m, err := supervise.Start(supervise.Options{Path: r.bin + "/mailctl", Args: append([]string{"-control", r.dir}, p.args...),
		Stdin: in, Stdout: log, Stderr: log, Dir: r.dir, Fault: r.fault, Armed: true})
	if err != nil {
		r.Fatal(err)
	}
	_, err = m.WaitFor(patience)
	r.note(m)
	done := p.isDone(r, p.state(r.world))
	if err == nil && !done {
		r.problem("it said that it was done, and it was not: %q", p.state(r.world))
	}
	if err != nil {
		p.retry(r)
	}
	if !p.isDone(r, p.state(r.world)) {
		r.problem("not done at last: %q", p.state(r.world))
	}
	p.tidy(r)
}

func (p mailctlPath) retry(r *run) {
	cmd := exec.Command(r.bin+"/mailctl", append([]string{"-control", r.dir}, p.args...)...)
	cmd.Stdin = strings.NewReader(p.stdin)
	out, err := cmd.CombinedOutput()
	if err != nil && (p.again == "" || !strings.Contains(string(out), p.again)) {
		r.problem("again: %v %s", err, out)
	}
}

// tidy looks for litter; what a kill leaves, the next change removes.
func (p mailctlPath) tidy(r *run) {
	age(r.dir)
	alias := exec.Command(r.bin+"/mailctl", "-control", r.dir, "alias", "add", "sweep@example.test", "alice@example.test")
	user := exec.Command(r.bin+"/mailctl", "-control", r.dir, "user", "passwd", "-generate", "alice@example.test")
	before := p.litter(r)
	if len(before) > 0 && !r.killed() && p.name != "domain remove" && !strings.Contains(r.call.Name, "unlink") {
		r.problem("litter: %q", before)
	}
	if len(before) == 0 {
		return
	}
	alias.Run()
	user.Run()
	if after := p.litter(r); len(after) > 0 {
		r.problem("not swept: %q", after)
	}
}

func (p mailctlPath) litter(r *run) (all []string) {
	for _, name := range listing(r.dir + "/domains") {
		if base := filepath.Base(name); base != ".lock" && strings.HasPrefix(base, ".") {
			all = append(all, name)
		}
	}
	return all
}
