package mailctl

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"peyk/internal/control"
)

func (t *tool) logCommand() *cli.Command {
	return &cli.Command{Name: "log", Usage: "tell from the logs why something happened", Subcommands: []*cli.Command{
		{Name: "explain", Usage: "print every event of one queue id, over all programs, in order", ArgsUsage: "ID [FILE ...]",
			Flags: []cli.Flag{jsonFlag}, Action: t.logExplain},
	}}
}

// A record is one line of the log.
type record struct {
	Time    time.Time
	Event   string
	Program string
	Fields  [][2]string // the rest, in order
}

func (r *record) get(key string) string {
	for _, f := range r.Fields {
		if f[0] == key {
			return f[1]
		}
	}
	return ""
}

// logExplain prints the events of one message. Events of the sessions that
// met it count too: the one that refused a recipient before the id existed is
// part of the story.
func (t *tool) logExplain(c *cli.Context) error {
	if !c.Args().Present() {
		return usagef("expected a queue id; mailctl queue list shows those that wait, the log and the Received field of a message the others")
	}
	id := c.Args().First()
	records, err := t.records(c)
	if err != nil {
		return err
	}
	story := storyOf(records, id)
	if len(story) == 0 {
		return missing{fmt.Sprintf("no event of %s in the log; name older log files after the id", printable(id))}
	}
	for _, r := range story {
		if err := t.tellEvent(c, r); err != nil {
			return err
		}
	}
	return nil
}

// storyOf picks the events of a queue id and of the session it came from.
func storyOf(records []record, id string) []record {
	sessions := make(map[string]bool)
	for _, r := range records {
		if r.get("queue") == id && r.get("session") != "" {
			sessions[r.Program+" "+r.get("session")] = true
		}
	}
	var story []record
	for _, r := range records {
		queue := r.get("queue")
		if queue == id || queue == "" && sessions[r.Program+" "+r.get("session")] {
			story = append(story, r)
		}
	}
	slices.SortStableFunc(story, func(a, b record) int { return a.Time.Compare(b.Time) })
	return story
}

func (t *tool) tellEvent(c *cli.Context, r record) error {
	if c.Bool("json") {
		object := map[string]string{"time": r.Time.Format(time.RFC3339Nano), "event": r.Event, "program": r.Program}
		for _, f := range r.Fields {
			object[f[0]] = f[1]
		}
		return t.object(object)
	}
	var rest strings.Builder
	for _, f := range r.Fields {
		if f[0] != "queue" && f[0] != "session" {
			fmt.Fprintf(&rest, "  %s=%s", f[0], printable(f[1]))
		}
	}
	_, err := fmt.Fprintf(t.out, "%s  %-9s  %-14s%s\n", r.Time.Format("2006-01-02 15:04:05.000"), printable(r.Program), printable(r.Event), rest.String())
	return err
}

// records reads the log: the files named, else the control log-files, else
// the journal of systemd.
func (t *tool) records(c *cli.Context) ([]record, error) {
	files := c.Args().Tail()
	if len(files) == 0 {
		config, err := t.config(c)
		if err != nil {
			return nil, err
		}
		for _, pattern := range config.Lines(control.LogFiles) {
			found, err := filepath.Glob(pattern)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", config.Path(control.LogFiles.Name), err)
			}
			files = append(files, found...)
		}
		if len(config.Lines(control.LogFiles)) == 0 {
			return journal()
		}
	}
	var all []record
	for _, file := range files {
		records, err := readLog(file)
		if err != nil {
			return nil, err
		}
		all = append(all, records...)
	}
	return all, nil
}

func readLog(file string) ([]record, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return scanLog(f)
}

// journal reads the lines of Peyk's units from systemd.
func journal() ([]record, error) {
	cmd := exec.Command("journalctl", "--output=cat", "--no-pager", "--unit=peyk-*")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot read the journal: %w; name the log files as arguments, or in the control log-files", err)
	}
	records, err := scanLog(out)
	return records, errors.Join(err, cmd.Wait())
}

// longestLine is more than eventlog writes; longer lines are not ours.
const longestLine = 64 << 10

// scanLog reads lines of logfmt or JSON; lines that are neither are skipped.
func scanLog(r io.Reader) ([]record, error) {
	var records []record
	lines := bufio.NewReaderSize(r, longestLine)
	for {
		line, err := lines.ReadSlice('\n')
		if err == nil {
			if rec, ok := parseRecord(strings.TrimSpace(string(line))); ok {
				records = append(records, rec)
			}
			continue
		}
		if errors.Is(err, io.EOF) {
			return records, nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return records, err
		}
	}
}

func parseRecord(line string) (record, bool) {
	var pairs [][2]string
	if strings.HasPrefix(line, "{") {
		pairs = parseJSON(line)
	} else {
		pairs = parseLogfmt(line)
	}
	var r record
	for _, p := range pairs {
		switch p[0] {
		case "time":
			r.Time, _ = time.Parse(time.RFC3339Nano, p[1])
		case "event":
			r.Event = p[1]
		case "program":
			r.Program = p[1]
		default:
			r.Fields = append(r.Fields, p)
		}
	}
	return r, r.Event != "" && !r.Time.IsZero()
}

// parseJSON keeps the order of the keys.
func parseJSON(line string) [][2]string {
	dec := json.NewDecoder(strings.NewReader(line))
	if _, err := dec.Token(); err != nil {
		return nil
	}
	var pairs [][2]string
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil
		}
		var value string
		if err := dec.Decode(&value); err != nil {
			return nil
		}
		pairs = append(pairs, [2]string{key.(string), value})
	}
	return pairs
}

func parseLogfmt(line string) [][2]string {
	var pairs [][2]string
	for line != "" {
		key, rest, ok := strings.Cut(line, "=")
		if !ok {
			return nil
		}
		value := ""
		if strings.HasPrefix(rest, `"`) {
			quoted, err := strconv.QuotedPrefix(rest)
			if err != nil {
				return nil
			}
			value, _ = strconv.Unquote(quoted)
			rest = rest[len(quoted):]
		} else {
			value, rest, _ = strings.Cut(rest, " ")
			rest = " " + rest
		}
		pairs = append(pairs, [2]string{key, value})
		line = strings.TrimPrefix(rest, " ")
	}
	return pairs
}
