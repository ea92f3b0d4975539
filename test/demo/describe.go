package main

import (
	"slices"
	"strings"
)

// relevant picks from what `kubectl describe` prints the sections of these names, and the labels and annotations of
// Gridlatch.
func relevant(description string, sections ...string) string {
	var all strings.Builder
	section, heading := "", ""
	follows := false // a long value stands in a line of its own
	for line := range strings.Lines(description) {
		line = strings.TrimRight(line, "\n")
		text := strings.TrimLeft(line, " ")
		if line == text {
			section, _, _ = strings.Cut(line, ":")
			heading = section + ":"
			text = strings.TrimLeft(line[min(len(heading), len(line)):], " ")
		}
		ours := strings.HasPrefix(text, "gridlatch.dev/") && (section == "Labels" || section == "Annotations")
		switch {
		case slices.Contains(sections, section), follows:
			all.WriteString(line + "\n")
		case ours:
			all.WriteString(heading + strings.Repeat(" ", len(line)-len(text)-len(heading)) + text + "\n")
			heading = ""
		}
		follows = ours && strings.HasSuffix(text, ":")
	}
	return all.String()
}

// events picks the events of these reasons from what `kubectl describe` prints.
func events(description string, reasons ...string) string {
	_, list, _ := strings.Cut(description, "\nEvents:")
	var all strings.Builder
	all.WriteString("Events:\n")
	for i, line := range strings.Split(strings.TrimRight(list, "\n"), "\n") {
		head := i == 1 || i == 2
		if head || slices.ContainsFunc(reasons, func(r string) bool { return strings.Contains(line, " "+r+" ") }) {
			all.WriteString(line + "\n")
		}
	}
	return all.String()
}
