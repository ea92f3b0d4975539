package backtest

import (
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/gridlatch/gridlatch/plan"
)

// WriteStarts writes when every job started under every policy, as CSV with the columns arrival,
// duration, slack, start and policy, so that anyone can compute the sums. If the jobs have weights,
// the weights are a column more. If a policy pauses jobs, each run of a job is a row, and the end of the
// run is the last column. If a policy sets widths, each width is a row, and one more column says how many
// times as wide as at the least the job ran.
func (r Result) WriteStarts(w io.Writer) error {
	out := csv.NewWriter(w)
	weighted := slices.ContainsFunc(r.Jobs, func(j Job) bool { return j.Weight != 1 })
	pauses := slices.ContainsFunc(r.Runs, func(run Run) bool { return run.Spans != nil })
	widens := slices.ContainsFunc(r.Runs, func(run Run) bool { return run.setsWidths() })
	header := []string{"arrival", "duration", "slack", "start", "policy"}
	if weighted {
		header = append(header, "weight")
	}
	if pauses {
		header = append(header, "end")
	}
	if widens {
		header = append(header, "times")
	}
	_ = out.Write(header) // Flush returns the error
	for _, run := range r.Runs {
		for i, job := range r.Jobs {
			for _, span := range run.SpansOf(i, job) {
				row := append(make([]string, 0, len(header)),
					job.Arrival.Format(time.RFC3339Nano), plan.FormatDuration(job.Duration), plan.FormatDuration(job.Slack),
					span.Start.UTC().Format(time.RFC3339Nano), run.Policy.String())
				if weighted {
					row = append(row, strconv.FormatFloat(job.Weight, 'g', -1, 64))
				}
				if pauses {
					row = append(row, span.End.UTC().Format(time.RFC3339Nano))
				}
				if widens {
					row = append(row, strconv.FormatFloat(span.Load(), 'g', -1, 64))
				}
				_ = out.Write(row)
			}
		}
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("write starts: %w", err)
	}
	return nil
}
