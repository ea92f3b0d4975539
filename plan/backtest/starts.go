package backtest

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/gridlatch/gridlatch/plan"
)

// WriteStarts writes when every job started under every policy, as CSV with the columns arrival,
// duration, slack, start and policy, so that anyone can compute the sums. If the jobs have weights,
// the weights are a sixth column.
func (r Result) WriteStarts(w io.Writer) error {
	out := csv.NewWriter(w)
	weighted := false
	for _, job := range r.Jobs {
		weighted = weighted || job.Weight != 1
	}
	header := []string{"arrival", "duration", "slack", "start", "policy"}
	if weighted {
		header = append(header, "weight")
	}
	_ = out.Write(header) // Flush returns the error
	for _, run := range r.Runs {
		for i, job := range r.Jobs {
			row := append(make([]string, 0, len(header)),
				job.Arrival.Format(time.RFC3339Nano), plan.FormatDuration(job.Duration), plan.FormatDuration(job.Slack),
				run.Starts[i].UTC().Format(time.RFC3339Nano), run.Policy.String())
			if weighted {
				row = append(row, strconv.FormatFloat(job.Weight, 'g', -1, 64))
			}
			_ = out.Write(row)
		}
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("write starts: %w", err)
	}
	return nil
}
