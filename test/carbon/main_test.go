package main

import (
	"cmp"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestEveryFigureIsMeasured(t *testing.T) {
	folder := cmp.Or(os.Getenv("GRIDLATCH_TRACES"), filepath.Join("..", "..", shipped))
	var out, errs strings.Builder
	if code := run(t.Context(), []string{"-traces", folder}, &out, &errs); code != 0 {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	for _, name := range []string{
		"simulate_s", "oracle_share_plain", "oracle_share_default", "mean_wait_default", "dirtier_default", "oracle_share_no_forecast",
		"oracle_share_stale", "oracle_share_cold_10_days", "oracle_share_cold_worst_part", "foresight_share_ceiling", "starts_over_ceiling",
		"oracle_share_lived", "oracle_share_warm_start", "warm_start_loss",
		"oracle_share_lived_no_forecast", "oracle_share_warm_start_no_forecast", "warm_start_loss_no_forecast",
		"oracle_share_interruptible", "oracle_share_interruptible_restart", "pausing_against_waiting", "pausing_saving",
		"elastic_saving", "elastic_against_fixed", "elastic_against_pausing", "oracle_share_elastic",
	} {
		if !regexp.MustCompile(`(?m)^figure ` + name + ` -?\d+\.\d{3} (s|h|%|jobs|points|times)$`).MatchString(out.String()) {
			t.Errorf("there is no figure %s in:\n%s", name, out.String())
		}
	}
	if !strings.Contains(out.String(), "figure starts_over_ceiling 0.000 jobs\n") {
		t.Error("jobs started over the ceiling")
	}
	if !strings.Contains(out.String(), "figure warm_start_loss_no_forecast 0.000 points\n") {
		t.Error("a model that was told of the past plans otherwise than one that lived through the past")
	}
}

func TestACallWithoutTracesFails(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		code int
		want string
	}{
		"a folder without traces": {[]string{"-traces", t.TempDir()}, 1, "has no REGION.actual.csv with its REGION.forecast.csv"},
		"an unknown argument":     {[]string{"DE"}, 2, `unknown argument "DE"`},
		"an unknown flag":         {[]string{"-trace"}, 2, "not defined: -trace"},
		"a question":              {[]string{"-help"}, 0, "folder with REGION.actual.csv"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs strings.Builder
			if code := run(t.Context(), tt.args, &out, &errs); code != tt.code || !strings.Contains(errs.String(), tt.want) {
				t.Errorf("exit code %d, %q; want %d, %q", code, errs.String(), tt.code, tt.want)
			}
		})
	}
}
