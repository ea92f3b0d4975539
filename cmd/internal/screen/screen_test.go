package screen

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	yaml3 "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"
)

// strange has what a terminal obeys, what breaks lines, what cannot be seen, and what is above
// U+FFFF.
const strange = "a\x1b[2J\x1b]0;title\a\r\n\tb\x7f\u0085\u009b2J\u00a0\u00ad\u200b\u200e\u2028\u2029\u202e\u2066\u2069\ufeff\U000e0041\"\\'é界😀"

func TestTextIsCleaned(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"printable characters":      {"waits until 05:00: 152 g, 64 % less – é 界 😀 ⣿ █", "waits until 05:00: 152 g, 64 % less – é 界 😀 ⣿ █"},
		"escape sequences":          {"\x1b[2J\x1b]0;t\a", `\x1b[2J\x1b]0;t\a`},
		"lines and columns":         {"a\r\n\tb\v\f", `a\r\n\tb\v\f`},
		"a byte that is no UTF-8":   {"\x9b2J\xff", `\x9b2J\xff`},
		"controls above ASCII":      {"\x7f\u009b2J\u0085", `\x7f\u009b2J\u0085`},
		"the direction of text":     {"\u202e\u2066\u200f", `\u202e\u2066\u200f`},
		"what cannot be seen":       {"\u200b\u2028\u2029\ufeff\U000e0041", `\u200b\u2028\u2029\ufeff\U000e0041`},
		"quotes and backslashes":    {`'"\x1b`, `'"\x1b`},
		"a text as long as allowed": {strings.Repeat("é", maxValue), strings.Repeat("é", maxValue)},
		"a text that is too long":   {strings.Repeat("é", maxValue) + "more", strings.Repeat("é", maxValue) + "… (4 characters more)"},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, Clean(tt.text)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// speaker is a Stringer, and an error.
type speaker string

func (s speaker) String() string { return string(s) }
func (s speaker) Error() string  { return string(s) }

type named string

func TestArgumentsAreCleanedWhateverTheyAre(t *testing.T) {
	var out bytes.Buffer
	s := New(&out, false)
	for name, arg := range map[string]any{
		"string": strange, "named": named(strange), "bytes": []byte(strange), "stringer": fmt.Stringer(speaker(strange)),
		"error": error(speaker(strange)), "slice": []string{strange}, "map": map[string]string{strange: strange},
		"pointer": &struct{ Name string }{strange}, "wrapped": fmt.Errorf("get: %w", errors.New(strange)),
	} {
		out.Reset()
		s.Printf("%s: %v\n", name, arg)
		if text := out.String(); !printable(strings.TrimSuffix(text, "\n")) || !strings.Contains(text, `\x1b[2J`) {
			t.Errorf("%s is printed as %q", name, text)
		}
	}
	out.Reset()
	s.Printf("%d of %5.1f %t %-4s|%v\n", 7, 2.25, true, "ab", error(nil))
	if got := out.String(); got != "7 of   2.2 true ab  |<nil>\n" {
		t.Errorf("printed %q", got)
	}
}

func TestErrorsTakeOneLine(t *testing.T) {
	var out bytes.Buffer
	New(&out, false).Printf("gridlatch: %v\n", fmt.Errorf("release: %w", errors.Join(errors.New("a"), errors.New("b"))))
	if got := out.String(); got != "gridlatch: release: a; b\n" {
		t.Errorf("printed %q", got)
	}
}

func TestOnlyOurOwnStylesArePrinted(t *testing.T) {
	for color, want := range map[bool]string{true: "\x1b[1ma\\x1b[1m\x1b[0m\x1b[32m", false: "a\\x1b[1m"} {
		var out bytes.Buffer
		New(&out, color).Printf("%s%s%s%s", Bold, "a\x1b[1m", Plain, Green)
		if got := out.String(); got != want {
			t.Errorf("with colour %t: printed %q, want %q", color, got, want)
		}
	}
}

func TestTablesKeepTheirColumns(t *testing.T) {
	var out bytes.Buffer
	table := New(&out, false).Table(2)
	table.Row("NAME", "N")
	table.Row("a\tb\nc", 1)
	table.Row("long\x1b[2J\xff\v name", 22)
	if out.Len() > 0 {
		t.Errorf("printed %q before it was flushed", out.String())
	}
	table.Flush()
	const want = `NAME                    N
a\tb\nc                 1
long\x1b[2J\xff\v name  22
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestColumnsStayNarrow(t *testing.T) {
	var out bytes.Buffer
	table := New(&out, false).Table(2)
	table.Row(strings.Repeat("a", 5000), strings.Repeat("b", 5000))
	table.Row("c", "d")
	table.Flush()
	lines := strings.Split(out.String(), "\n")
	if !strings.HasPrefix(lines[0], strings.Repeat("a", maxCell)+"… (4920 characters more)  b") || len(lines[1]) > 120 || len(lines[0]) > 1200 {
		t.Errorf("printed\n%s", out.String())
	}
}

func TestLibrariesBreakLines(t *testing.T) {
	var out bytes.Buffer
	s := New(&out, true)
	fmt.Fprintf(s, "Usage:\n\tplan %s\n", "\x1b[2J")
	fmt.Fprintf(s.Lines(), "Warning: %s\n", "a\nb\x1b[2J")
	if got := out.String(); got != "Usage:\n\tplan \\x1b[2J\nWarning: a\\nb\\x1b[2J\n" {
		t.Errorf("printed %q", got)
	}
}

type full struct{ left int }

func (f *full) Write(text []byte) (int, error) {
	if f.left--; f.left < 0 {
		return 0, errors.New("no space left")
	}
	return len(text), nil
}

func TestTheFirstErrorOfPrintingIsRemembered(t *testing.T) {
	s := New(&full{left: 1}, false)
	s.Printf("a")
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	table := s.Table(2)
	table.Row("a", "b")
	table.Flush()
	s.Printf("b")
	if err := s.Err(); err == nil || err.Error() != "no space left" {
		t.Errorf("error %v", err)
	}
}

type document struct {
	Text  string            `json:"text"`
	Words []string          `json:"words"`
	Asked map[string]string `json:"asked"`
	Float float64           `json:"float"`
	Small float64           `json:"small"`
	Count int               `json:"count"`
	None  *int              `json:"none"`
	Empty []string          `json:"empty"`
}

// hard are strings that readers of YAML take for something else, or that have what must be escaped.
func hard() document {
	return document{
		Text: strange, Words: []string{
			"yes", "no", "on", "y", "~", "null", "true", "0x1f", "1e3", "1_000", "12:30", "2026-11-21", "", " a", "a ", "- a", "a: b", "a #b", "@a",
			"!a", "&a", "*a", "%a", "?", "|", ">", "'a'", `"a"`, "a\nforged: b", "plain words", "é界", "---", "\u0085", "=", "<<", "a\\b", "0o17", ".inf",
		},
		Asked: map[string]string{"gridlatch.dev/deadline": "06:00 Europe/Berlin", strange: strange, "on": "off"},
		Float: 420, Small: 1e-7, Count: -3, Empty: []string{},
	}
}

func TestDataLosesNothing(t *testing.T) {
	readYAML := func(data []byte, into any) error { return yaml.Unmarshal(data, into) } // as kubectl does, by version 1.1
	newer := func(data []byte, into any) error {                                        // by version 1.2
		var value any
		if err := yaml3.Unmarshal(data, &value); err != nil {
			return err
		}
		text, err := json.Marshal(value)
		if err != nil {
			return err
		}
		return json.Unmarshal(text, into)
	}
	for name, tt := range map[string]struct {
		print func(*Screen, any) error
		read  func([]byte, any) error
	}{
		"JSON": {(*Screen).JSON, json.Unmarshal}, "YAML": {(*Screen).YAML, readYAML}, "newer YAML": {(*Screen).YAML, newer},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := tt.print(New(&out, true), hard()); err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(out.String()) {
				if line = strings.TrimSuffix(line, "\n"); !printable(line) || strings.HasPrefix(strings.TrimSpace(line), "forged") {
					t.Errorf("printed %q", line)
				}
			}
			var got document
			if err := tt.read(out.Bytes(), &got); err != nil {
				t.Fatalf("%v in\n%s", err, out.String())
			}
			if diff := cmp.Diff(hard(), got); diff != "" {
				t.Errorf("read back (-want +got):\n%s", diff)
			}
		})
	}
}

func TestYAMLIsWhatPeopleExpect(t *testing.T) {
	var out bytes.Buffer
	if err := New(&out, false).YAML(document{Text: "two words", Words: []string{"a", "12:30"}, Float: 1.5}); err != nil {
		t.Fatal(err)
	}
	const want = `text: two words
words:
- a
- "12:30"
asked: null
float: 1.5
small: 0
count: 0
none: null
empty: null
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLogsCanBeLookedAt(t *testing.T) {
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(Log(&out), nil)).Info("a\x7f", "pod", strange)
	line := strings.TrimSuffix(out.String(), "\n")
	var got struct{ Pod string }
	if err := json.Unmarshal([]byte(line), &got); err != nil || got.Pod != strange || !printable(line) {
		t.Errorf("%v, logged %q", err, line)
	}
}

func printable(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

func FuzzData(f *testing.F) {
	f.Add(strange)
	f.Add("yes")
	f.Add("a\nb: c")
	f.Fuzz(func(t *testing.T, text string) {
		text = strings.ToValidUTF8(text, "?")
		for name, tt := range map[string]struct {
			print func(*Screen, any) error
			read  func([]byte, any) error
		}{
			"JSON":       {(*Screen).JSON, json.Unmarshal},
			"YAML":       {(*Screen).YAML, func(data []byte, into any) error { return yaml.Unmarshal(data, into) }},
			"newer YAML": {(*Screen).YAML, yaml3.Unmarshal},
		} {
			var out bytes.Buffer
			if err := tt.print(New(&out, false), map[string]string{"text": text}); err != nil {
				t.Fatal(err)
			}
			var got map[string]string
			if err := tt.read(out.Bytes(), &got); err != nil || got["text"] != text || !printable(strings.ReplaceAll(out.String(), "\n", "")) {
				t.Errorf("%s: %v: %q is printed as %q", name, err, text, out.String())
			}
		}
		if shown := Clean(text); !printable(shown) {
			t.Errorf("%q is shown as %q", text, shown)
		}
	})
}
