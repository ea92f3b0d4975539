package docs_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const installPage = "docs/install.md"

// valueLine is a line of values.yaml: indentation, key, value, and what a comment says of it.
var valueLine = regexp.MustCompile(`^( *)([A-Za-z-]+):(?: ([^#]*?))?(?: *# (.*))?$`)

// pageURL is the address of a page of this repository, for those who have the package of the chart only.
var pageURL = regexp.MustCompile(`https://github\.com/gridlatch/gridlatch/blob/main/(\S+/)(\S+\.md)`)

// TestTheInstallPageHasEveryValueOfTheChart makes the table of values from values.yaml.
func TestTheInstallPageHasEveryValueOfTheChart(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(top, "charts/gridlatch/values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("| value | default | what it is |\n|---|---|---|\n")
	var path, meanings []string // of the keys around a line
	for line := range strings.Lines(string(text)) {
		found := valueLine.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if found == nil {
			if trimmed := strings.TrimSpace(line); trimmed != "" && !strings.HasPrefix(trimmed, "#") {
				t.Fatalf("values.yaml has a line that the table cannot show: %s", line)
			}
			continue
		}
		depth := len(found[1]) / 2
		path, meanings = append(path[:depth], found[2]), append(meanings[:depth], found[4])
		if found[3] == "" {
			continue // its values are below
		}
		meaning := ""
		for _, m := range slices.Backward(meanings) {
			if meaning = m; m != "" {
				break
			}
		}
		meaning = pageURL.ReplaceAllString(meaning, "[$1$2](../$1$2)")
		fmt.Fprintf(&b, "| `%s` | `%s` | %s |\n", strings.Join(path, "."), found[3], meaning)
	}
	expect(t, installPage, generated(t, installPage, "values", b.String()))
}

// TestTheProgramInTheImageIsForLinux also holds on a machine with another system.
func TestTheProgramInTheImageIsForLinux(t *testing.T) {
	commands := exec.Command("make", "--dry-run", "--no-print-directory", "image")
	commands.Dir = top
	printed, err := commands.Output()
	if err != nil {
		t.Fatal(err)
	}
	before, _, found := strings.Cut(string(printed), "buildah bud")
	builds := regexp.MustCompile(`(?m)^.*go build .*-o bin/gridlatch .*$`).FindAllString(before, -1)
	if !found || len(builds) == 0 || !strings.HasPrefix(builds[len(builds)-1], "GOOS=linux ") {
		t.Errorf("make image copies what these commands build:\n%s", strings.Join(builds, "\n"))
	}
}
