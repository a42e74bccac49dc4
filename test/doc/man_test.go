// Package doc_test holds the words against the code: manual pages, the sample
// configuration, the table of RFCs and the units, each in both directions.
package doc_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"peyk/internal/control"
	"peyk/internal/eventlog"
	"peyk/internal/sysexits"
	"peyk/test/sandbox"
)

// programs are the daemons and tools, and the section of their manual page.
var programs = map[string]string{
	"smtpd": "8", "queue-run": "8", "deliver": "8", "remote": "8", "imapd": "8", "pop3d": "8", "authd": "8", "auth-remote": "8",
	"mailctl": "8", "sendmail": "1",
}

func page(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "man", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// entries returns what follows the given mdoc macro in .It lines of a page.
func entries(text, macro string) []string {
	var found []string
	re := regexp.MustCompile(`(?m)^\.It ` + macro + ` (\S+)`)
	for _, m := range re.FindAllStringSubmatch(text, -1) {
		found = append(found, strings.ReplaceAll(m[1], `\-`, "-"))
	}
	return found
}

func TestControlManualHoldsEverySetting(t *testing.T) {
	text := page(t, "peyk-control.5")
	documented := entries(text, "Pa")
	for _, s := range control.All() {
		if !slices.Contains(documented, s.Name) {
			t.Errorf("peyk-control.5 lacks the setting %s", s.Name)
		}
	}
	for _, name := range documented {
		if !strings.Contains(name, "/") && !slices.ContainsFunc(control.All(), func(s *control.Setting) bool { return s.Name == name }) {
			t.Errorf("peyk-control.5 describes %s, which no program reads", name)
		}
	}
}

// sectionOf returns the text of one .It entry.
func sectionOf(text, name string) string {
	_, rest, ok := strings.Cut(text, "\n.It Pa "+name+"\n")
	if !ok {
		return ""
	}
	section, _, _ := strings.Cut(rest, "\n.It Pa ")
	return section
}

func TestControlManualTellsTheDefaults(t *testing.T) {
	text := page(t, "peyk-control.5")
	for _, s := range control.All() {
		section := sectionOf(text, s.Name)
		for _, value := range strings.Split(s.Default, "\n") {
			if value != "" && !strings.Contains(section, value) {
				t.Errorf("peyk-control.5: the entry of %s lacks its default %q", s.Name, value)
			}
		}
		for _, program := range s.Programs {
			if !strings.Contains(section, ".Xr "+program+" ") {
				t.Errorf("peyk-control.5: the entry of %s does not say that %s reads it", s.Name, program)
			}
		}
	}
}

func TestLogManualHoldsEveryEvent(t *testing.T) {
	documented := entries(page(t, "peyk-log.7"), "Li")
	for _, d := range eventlog.All() {
		if !slices.Contains(documented, string(d.Event)) {
			t.Errorf("peyk-log.7 lacks the event %s", d.Event)
		}
	}
	for _, name := range documented {
		if !slices.ContainsFunc(eventlog.All(), func(d eventlog.Definition) bool { return string(d.Event) == name }) {
			t.Errorf("peyk-log.7 describes the event %s, which nothing logs", name)
		}
	}
}

// TestEveryEventIsLogged finds events that no program logs any more.
func TestEveryEventIsLogged(t *testing.T) {
	used := regexp.MustCompile(`eventlog\.([A-Z]\w*)`)
	constants := regexp.MustCompile(`(?m)^\t(\w+)\s+(?:Event\s+)?= "`)
	names := map[string]bool{}
	sources(t, "internal/eventlog", func(_, text string) {
		for _, m := range constants.FindAllStringSubmatch(text, -1) {
			names[m[1]] = false
		}
	})
	sources(t, "internal", func(path, text string) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		for _, m := range used.FindAllStringSubmatch(text, -1) {
			names[m[1]] = true
		}
	})
	for name, ok := range names {
		if !ok {
			t.Errorf("nothing logs eventlog.%s: remove it, and its entry in peyk-log.7", name)
		}
	}
}

// sources calls f for every Go file below dir (from the project's root).
func sources(t *testing.T, dir string, f func(path, text string)) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join("..", "..", dir), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		b, err := os.ReadFile(path)
		f(path, string(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// bins builds every program once and returns the directory.
func bins(t *testing.T) string {
	t.Helper()
	dir, err := sandbox.Build()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var helpFlag = regexp.MustCompile(`(?m)^ {3}--?([a-z0-9-]+)`)

func TestManualsHoldEveryFlag(t *testing.T) {
	dir := bins(t)
	for name, section := range programs {
		if name == "sendmail" || name == "mailctl" {
			continue // they have tests of their own command lines
		}
		text := page(t, name+"."+section)
		out, err := exec.Command(filepath.Join(dir, name), "-help").Output()
		if err != nil {
			t.Fatalf("%s -help: %v", name, err)
		}
		sayTheSame(t, name, text, string(out))
		var own []string
		for _, m := range helpFlag.FindAllStringSubmatch(string(out), -1) {
			own = append(own, m[1])
		}
		compareFlags(t, name, text, own)
	}
}

// sayTheSame holds the one line of a program's help against its manual's.
func sayTheSame(t *testing.T, name, text, help string) {
	t.Helper()
	said := regexp.MustCompile(`(?m)^ {3}` + name + ` - (.*)$`).FindStringSubmatch(help)
	written := regexp.MustCompile(`(?m)^\.Nd (.*)$`).FindStringSubmatch(text)
	if said == nil || written == nil || said[1] != written[1] {
		t.Errorf("%s: its help says %q, its manual %q", name, said, written)
	}
}

// TestManualsLeadSomewhere looks for the pages of ours that .Xr lines name.
func TestManualsLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`(?m)\bXr ([a-z0-9-]+) ([1-8])`)
	pages, _ := filepath.Glob(filepath.Join("..", "..", "man", "*.[1578]"))
	for _, p := range pages {
		for _, m := range link.FindAllStringSubmatch(page(t, filepath.Base(p)), -1) {
			_, program := programs[m[1]]
			ours := program || strings.HasPrefix(m[1], "peyk")
			if ours && !slices.Contains(pages, filepath.Join("..", "..", "man", m[1]+"."+m[2])) {
				t.Errorf("%s leads to %s(%s), which is not there", filepath.Base(p), m[1], m[2])
			}
		}
	}
}

func compareFlags(t *testing.T, name, text string, flags []string) {
	t.Helper()
	documented, controls := entries(text, "Fl"), entries(text, "Pa")
	settings := control.Of(name)
	isSetting := func(flag string) bool {
		return slices.ContainsFunc(settings, func(s *control.Setting) bool { return s.Name == flag })
	}
	for _, flag := range flags {
		switch {
		case flag == "help":
		case isSetting(flag) && !slices.Contains(controls, flag):
			t.Errorf("%s: its manual lacks the control file %s", name, flag)
		case !isSetting(flag) && !slices.Contains(documented, flag):
			t.Errorf("%s: its manual lacks the flag -%s", name, flag)
		}
	}
	for _, flag := range documented {
		if !slices.Contains(flags, flag) {
			t.Errorf("%s: its manual describes -%s, which it does not take", name, flag)
		}
	}
	for _, s := range controls {
		if !strings.Contains(s, "/") && !isSetting(s) {
			t.Errorf("%s: its manual describes the control file %s, which it does not read", name, s)
		}
	}
}

func TestMailctlManualHoldsEveryCommand(t *testing.T) {
	dir := bins(t)
	text := page(t, "mailctl.8")
	words := regexp.MustCompile(`(?m)^ {3}([a-z][a-z-]*)(?:,| {2})`)
	run := func(args ...string) string {
		out, err := exec.Command(filepath.Join(dir, "mailctl"), args...).Output()
		if err != nil {
			t.Fatalf("mailctl %v: %v", args, err)
		}
		return string(out)
	}
	sayTheSame(t, "mailctl", text, run("-help"))
	var known []string
	for _, m := range words.FindAllStringSubmatch(commandsOf(run("-help")), -1) {
		if m[1] == "help" {
			continue
		}
		subs := words.FindAllStringSubmatch(commandsOf(run(m[1], "-help")), -1)
		if len(subs) == 0 {
			known = append(known, m[1])
		}
		for _, sub := range subs {
			known = append(known, m[1]+" "+sub[1])
		}
	}
	if len(known) < 25 {
		t.Fatalf("found only %d commands: %q", len(known), known)
	}
	for _, command := range known {
		if !strings.Contains(text, "\n.It Cm "+command) {
			t.Errorf("mailctl.8 lacks the command %q", command)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^\.It Cm ([a-z -]+?)(?: (?:Op|Ar|Fl|Brq|Oo) .*)?$`).FindAllStringSubmatch(text, -1) {
		if !slices.Contains(known, strings.TrimSpace(m[1])) {
			t.Errorf("mailctl.8 describes %q, which mailctl does not know", m[1])
		}
	}
}

// commandsOf returns the COMMANDS part of a help text.
func commandsOf(help string) string {
	_, rest, _ := strings.Cut(help, "COMMANDS:")
	commands, _, _ := strings.Cut(rest, "OPTIONS:")
	return commands
}

func TestFrontDoorListsExitStatuses(t *testing.T) {
	text := page(t, "peyk.7")
	for _, code := range []int{sysexits.OK, sysexits.Usage, sysexits.DataErr, sysexits.NoInput, sysexits.NoUser, sysexits.NoHost,
		sysexits.Unavailable, sysexits.Software, sysexits.OSErr, sysexits.OSFile, sysexits.CantCreat, sysexits.IOErr,
		sysexits.TempFail, sysexits.Protocol, sysexits.NoPerm, sysexits.Config} {
		if !regexp.MustCompile(`(?m)^\.It ` + strconv.Itoa(code) + `\b`).MatchString(text) {
			t.Errorf("peyk.7 lacks the exit status %d", code)
		}
	}
	for name, section := range programs {
		if !strings.Contains(text, "Xr "+name+" "+section) {
			t.Errorf("peyk.7 does not lead to %s(%s)", name, section)
		}
	}
}

func TestManualsAreCleanMdoc(t *testing.T) {
	mandoc, err := exec.LookPath("mandoc")
	if err != nil {
		t.Skip("mandoc is not installed")
	}
	pages, _ := filepath.Glob(filepath.Join("..", "..", "man", "*.[1578]"))
	if len(pages) < len(programs) {
		t.Fatalf("only %d pages", len(pages))
	}
	for _, p := range pages {
		out, _ := exec.Command(mandoc, "-Tlint", "-Wwarning", p).CombinedOutput()
		if len(out) > 0 {
			t.Errorf("%s", out)
		}
	}
}

func TestUnitsAreTight(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	units, _ := filepath.Glob(filepath.Join("..", "..", "systemd", "*.service"))
	if len(units) != 9 {
		t.Fatalf("%d services, want 9", len(units))
	}
	for _, unit := range units {
		out, err := exec.Command(analyze, "security", "--offline=true", "--threshold=15", unit).CombinedOutput()
		if err != nil {
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			t.Errorf("%s is exposed more than 1.5: %s", filepath.Base(unit), lines[len(lines)-1])
		}
	}
}
