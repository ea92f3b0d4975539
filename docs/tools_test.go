package docs_test

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

const toolsPage = "docs/tools.md"

func TestTheToolsPageHasEveryTool(t *testing.T) {
	var b strings.Builder
	b.WriteString("| tool | recognized by the label or annotation | the tool gives up after | settings of the tool | Gridlatch lets the work start, or be done, within |\n|---|---|---|---|---|\n")
	for _, tool := range policy.Tools() {
		without, settings, within := "a start", "none", plan.FormatDuration(tool.LongestWait())
		if tool.LimitsWholeRun {
			without = "an end"
		}
		if len(tool.Settings) > 0 {
			settings = "`" + strings.Join(tool.Settings, "`, `") + "`"
		}
		if tool.WhyNeverHeld != "" {
			within = "it is never held: " + tool.WhyNeverHeld
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s without %s | %s | %s |\n", tool.Name, strings.Join(tool.Marks, "`, `"), plan.FormatDuration(tool.Timeout), without, settings, within)
	}
	expect(t, toolsPage, generated(t, toolsPage, "tools", b.String()))
}

var (
	snippet = regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```\n")
	// setting is a number, or a duration, that a setting has in INI, Python, TOML or YAML.
	setting  = regexp.MustCompile(`(?m)^\s*([a-z_]+)\s*[=:]\s*([0-9]+[a-z]*),?\s*$`)
	deadline = regexp.MustCompile(`(?m)^\s*"?gridlatch\.dev/deadline"?\s*[=:]\s*"?([0-9a-z]+)"?,?\s*$`)
	wish     = regexp.MustCompile(`(?m)^\s*"?gridlatch\.dev/delay-tolerant"?\s*[=:]\s*"true",?\s*$`)
)

// TestTheToolsPageHasTheSettingToRaise checks the snippets of the tools that have no door of their
// own: that they have all settings of the tool, each longer than the deadline beside them.
func TestTheToolsPageHasTheSettingToRaise(t *testing.T) {
	for _, name := range []string{"Airflow KubernetesExecutor", "Airflow KubernetesPodOperator", "GitLab Runner", "GitHub Actions Runner Controller"} {
		t.Run(name, func(t *testing.T) {
			tools := policy.Tools()
			i := slices.IndexFunc(tools, func(tool policy.Tool) bool { return tool.Name == name })
			if i < 0 {
				t.Fatal("policy.Tools does not know the tool")
			}
			text := snippets(t, section(t, toolsPage, name))
			until, asks := deadline.FindStringSubmatch(text), wish.MatchString(text)
			if until == nil || !asks {
				t.Fatalf("no annotations in:\n%s", text)
			}
			wait := lasts(t, until[1])
			has := map[string]time.Duration{}
			for _, found := range setting.FindAllStringSubmatch(text, -1) {
				has[found[1]] = lasts(t, found[2])
			}
			for _, name := range tools[i].Settings {
				if has[name] <= wait || has[name] <= tools[i].Timeout {
					t.Errorf("%s is %s, want more than the deadline %s and the default %s", name, has[name], wait, tools[i].Timeout)
				}
			}
			if len(tools[i].Settings) == 0 && wait >= tools[i].LongestWait() {
				t.Errorf("the deadline %s is later than the tool allows, %s", wait, tools[i].LongestWait())
			}
		})
	}
}

// section returns the text below a heading, up to the next one.
func section(t *testing.T, name, title string) string {
	t.Helper()
	_, text, found := strings.Cut(page(t, name), "\n### "+title+"\n")
	if !found {
		t.Fatalf("%s has no heading %q", name, title)
	}
	before, _, _ := strings.Cut(text, "\n#")
	return before
}

// snippets returns the snippets of a text. Those in YAML must be well formed.
func snippets(t *testing.T, text string) string {
	t.Helper()
	var all strings.Builder
	for _, found := range snippet.FindAllStringSubmatch(text, -1) {
		if found[1] == "yaml" {
			var parsed map[string]any
			if err := yaml.UnmarshalStrict([]byte(found[2]), &parsed); err != nil {
				t.Errorf("%v:\n%s", err, found[2])
			}
		}
		all.WriteString(found[2])
	}
	return all.String()
}

// lasts reads a number of seconds, or a duration.
func lasts(t *testing.T, text string) time.Duration {
	t.Helper()
	if seconds, err := strconv.Atoi(text); err == nil {
		return time.Duration(seconds) * time.Second
	}
	d, err := plan.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
