// Package docs_test checks the pages against the program, so that they stay true.
//
// go test ./docs -update writes what is generated into the pages anew.
package docs_test

import (
	"encoding/json"
	"flag"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

var update = flag.Bool("update", false, "write what is generated into the pages")

// set is a set of names.
type set map[string]bool

func (s set) sorted() []string { return slices.Sorted(maps.Keys(s)) }

// pages returns the text of every page in the repository, by its path from the top.
func pages(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "manifests/*/*/README.md"} {
		paths, err := filepath.Glob(filepath.Join(top, pattern))
		if err != nil || len(paths) == 0 {
			t.Fatalf("no page %s: %v", pattern, err)
		}
		for _, path := range paths {
			name, err := filepath.Rel(top, path)
			if err != nil {
				t.Fatal(err)
			}
			found[name] = page(t, name)
		}
	}
	return found
}

func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(top, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// expect compares a page with what it should be, or writes it.
func expect(t *testing.T, name, want string) {
	t.Helper()
	diff := cmp.Diff(want, page(t, name))
	if diff == "" {
		return
	}
	if !*update {
		t.Errorf("%s is not what the program says; go test ./docs -update writes it anew (-want +got):\n%s", name, diff)
		return
	}
	if err := os.WriteFile(filepath.Join(top, name), []byte(want), 0o600); err != nil {
		t.Fatal(err)
	}
}

// generated returns the page with a text in its generated part.
func generated(t *testing.T, name, part, text string) string {
	t.Helper()
	begin, end := "<!-- generated: "+part+" -->\n", "<!-- end -->\n"
	before, rest, found := strings.Cut(page(t, name), begin)
	_, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s has no generated part %s", name, part)
	}
	return before + begin + text + end + after
}

var (
	heading = regexp.MustCompile(`^#+ (.+)$`)
	firsts  = regexp.MustCompile("^\\| `([^`]+)`")
)

// column returns the code in the first column of the tables below a heading.
func column(t *testing.T, name, title string) set {
	t.Helper()
	found, below := set{}, false
	for line := range strings.Lines(page(t, name)) {
		if h := heading.FindStringSubmatch(strings.TrimSpace(line)); h != nil {
			below = h[1] == title
		}
		if cell := firsts.FindStringSubmatch(line); below && cell != nil {
			found[cell[1]] = true
		}
	}
	if len(found) == 0 {
		t.Fatalf("%s has no table below %q", name, title)
	}
	return found
}

// command is a block that begins with a command of the plugin, and goes on with what it prints.
var command = regexp.MustCompile("(?ms)^```console\n\\$ (go run \\./cmd/kubectl-gridlatch [^\n]+)\n.*?^```\n")

func TestPagesShowWhatTheirCommandsPrint(t *testing.T) {
	commands := 0
	for name, text := range pages(t) {
		want := command.ReplaceAllStringFunc(text, func(block string) string {
			commands++
			line := command.FindStringSubmatch(block)[1]
			shell := exec.Command("bash", "-c", line)
			shell.Dir = top
			printed, err := shell.Output()
			if err != nil {
				t.Errorf("%s: %s: %v", name, line, err)
			}
			return "```console\n$ " + line + "\n" + string(printed) + "```\n"
		})
		expect(t, name, want)
	}
	if commands == 0 {
		t.Error("no page shows a command")
	}
}

func TestTheReadmeShowsTheAnnotationsThatItsFirstCommandPlans(t *testing.T) {
	text := page(t, "README.md")
	first := command.FindStringSubmatch(text)
	if first == nil || !strings.HasPrefix(first[1], "go run ./cmd/kubectl-gridlatch plan ") {
		t.Fatal("README.md shows no plan: want one that needs no cluster")
	}
	shell := exec.Command("bash", "-c", first[1]+" -o json")
	shell.Dir = top
	printed, err := shell.Output()
	if err != nil {
		t.Fatalf("%s: %v", first[1], err)
	}
	var planned struct{ Start, LatestStart, Reason string }
	if err := json.Unmarshal(printed, &planned); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		v1alpha1.PlannedStartAnnotation + ": " + planned.Start + "\n", v1alpha1.LatestStartAnnotation + ": " + planned.LatestStart + "\n",
		v1alpha1.ReasonAnnotation + ":\n                " + planned.Reason + "\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("README.md does not show %q", want)
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)#\s]*)(#[^)\s]*)?\)`)

func TestLinksLeadSomewhere(t *testing.T) {
	for name, text := range pages(t) {
		for _, found := range link.FindAllStringSubmatch(text, -1) {
			file, anchor := found[1], strings.TrimPrefix(found[2], "#")
			if strings.Contains(file, "://") {
				continue
			}
			target := name
			if file != "" {
				target = filepath.Join(filepath.Dir(name), file)
			}
			if _, err := os.Stat(filepath.Join(top, target)); err != nil {
				t.Errorf("%s links to %s, which is not there", name, target)
				continue
			}
			if anchor != "" && !anchors(t, target)[anchor] {
				t.Errorf("%s links to %s#%s: no heading is called that", name, target, anchor)
			}
		}
	}
}

// anchors returns what the headings of a page can be linked by.
func anchors(t *testing.T, name string) set {
	t.Helper()
	found := set{}
	for line := range strings.Lines(page(t, name)) {
		if h := heading.FindStringSubmatch(strings.TrimSpace(line)); h != nil {
			plain := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(h[1]), "")
			found[strings.ReplaceAll(plain, " ", "-")] = true
		}
	}
	return found
}

func TestTheMadeUpForecastIsCleanInSevenMinutes(t *testing.T) {
	plugin := filepath.Join(t.TempDir(), "plugin") // built first: the made-up minutes go by while Go compiles
	build := exec.Command("go", "build", "-o", plugin, "./cmd/kubectl-gridlatch")
	build.Dir = top
	if printed, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v:\n%s", err, printed)
	}
	const line = `docs/example/mock-forecast.sh 1 | "$0" plan - --duration 1m --deadline 30m`
	shell := exec.Command("bash", "-o", "pipefail", "-c", line, plugin)
	shell.Dir = top
	printed, err := shell.CombinedOutput()
	if err != nil || !regexp.MustCompile(`^Start at .*, in [67]m\b`).Match(printed) {
		t.Errorf("%v:\n%s", err, printed)
	}
}
