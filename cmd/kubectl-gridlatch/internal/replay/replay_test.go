package replay

import (
	"testing"
	"time"

	"github.com/gridlatch/gridlatch/plan/backtest"
)

func TestAFlatGridIsSaidToBeFlat(t *testing.T) {
	for name, tt := range map[string]struct {
		oracle, ours float64
		want         string
	}{
		"nothing to save": {0.01, 0.005, "Waiting is not worthwhile here: the grid is so flat that even perfect foresight saves no more than 1.0 %; Gridlatch saved 0.5 % for a mean wait of 3.0 h."},
		"little saved":    {0.05, 0.02, "Waiting is hardly worthwhile here: perfect foresight saves 5.0 %, and Gridlatch saved 2.0 % for a mean wait of 3.0 h."},
		"much saved":      {0.2, 0.18, "Gridlatch saved 18.0 % of the emissions, 90 % of what perfect foresight saves, for a mean wait of 3.0 h."},
	} {
		t.Run(name, func(t *testing.T) {
			r := &Replay{Scores: []backtest.Scores{
				{Policy: backtest.Policy{Kind: backtest.Gridlatch}, Total: backtest.Score{Saving: tt.ours, Wait: 3 * time.Hour}, Cells: map[backtest.Cell]backtest.Score{}},
				{Policy: backtest.Policy{Kind: backtest.Oracle}, Total: backtest.Score{Saving: tt.oracle}},
			}}
			if got := r.Verdict(); got != tt.want {
				t.Errorf("%s\nwant %s", got, tt.want)
			}
		})
	}
}
