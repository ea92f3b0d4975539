package plan

import (
	"math"
	"time"
)

// A widthPiece is a time at one width.
type widthPiece struct {
	start, end int64 // Unix nanoseconds
	width      int
}

// pieces returns the times at one width of a choice, in order.
func (f *filling) pieces(c *filled) []widthPiece {
	widths, part := f.widths(c)
	var pieces []widthPiece
	for i, width := range widths {
		cell := &f.cells[c.first+i]
		if part != nil && part.isBase() && part.cell == c.first+i {
			pieces = append(pieces, partOf(cell, part.to, c.share, i == 0 && len(widths) > 1)...)
			continue
		}
		pieces = append(pieces, wholeOf(cell, width)...)
	}
	return pieces
}

// widths returns the mean widths of a choice by cell, and the segment that is used in part; nil if there
// is none.
func (f *filling) widths(c *filled) (widths []float64, part *widthSegment) {
	widths = make([]float64, c.last-c.first+1)
	for i := range widths {
		if base := &f.segments[f.bases[c.first+i]]; !c.uses(base) {
			widths[i] = float64(base.to) // it is not to be chosen, but given
		}
	}
	for rank := range c.upTo {
		if s := f.ranked(rank); c.uses(s) {
			widths[s.cell-c.first] += float64(s.to - s.from)
			part = s
		}
	}
	if part != nil {
		widths[part.cell-c.first] -= (1 - c.share) * float64(part.to-part.from)
	}
	return widths, part
}

// partOf returns the use of a share of a cell, at its end or at its beginning.
func partOf(cell *widthCell, width int, share float64, atEnd bool) []widthPiece {
	used := int64(math.Ceil(share * float64(cell.end-cell.start)))
	piece := widthPiece{cell.start, min(ceilSecond(cell.start+used), cell.end), width}
	if atEnd {
		const second = int64(time.Second)
		start := cell.end - used
		piece = widthPiece{max(start-start%second, cell.start), cell.end, width}
	}
	if used <= 0 {
		return nil
	}
	return []widthPiece{piece}
}

// wholeOf returns the use of a whole cell at a mean width: the wider part comes first.
func wholeOf(cell *widthCell, width float64) []widthPiece {
	const rounding = 1e-6 // of a pod
	least := int(math.Floor(width + rounding))
	share := width - float64(least)
	if share <= rounding {
		if least == 0 {
			return nil
		}
		return []widthPiece{{cell.start, cell.end, least}}
	}
	until := min(ceilSecond(cell.start+int64(math.Ceil(share*float64(cell.end-cell.start)))), cell.end)
	pieces := []widthPiece{{cell.start, until, least + 1}}
	if until < cell.end && least > 0 {
		pieces = append(pieces, widthPiece{until, cell.end, least})
	}
	return pieces
}

// plan returns the plan of some pieces. It ends when the work is done: roundings only ever add to a
// piece. If the pieces are not enough by a rounding, the last one is longer.
func (s *widthSearch) plan(pieces []widthPiece, cause Cause) WidthPlan {
	w := WidthPlan{Cause: cause, EmittedFixed: s.emitted(s.planner.nowNanos, s.end(s.work.Least), s.work.Least)}
	left := s.work.Remaining.Hours() * s.work.Speedup.At(s.work.Least)
	for i, piece := range pieces {
		throughput := s.work.Speedup.At(piece.width)
		done := piece.start + int64(left/throughput*float64(time.Hour))
		if done <= piece.end || i == len(pieces)-1 {
			piece.end = ceilSecond(done)
		}
		left -= throughput * float64(piece.end-piece.start) / float64(time.Hour)
		w.Emitted += s.emitted(piece.start, piece.end, piece.width)
		w.append(piece)
		if left <= 0 {
			break
		}
	}
	for i := range w.Steps {
		step := &w.Steps[i]
		step.Intensity = s.mean(nanos(step.Start), nanos(step.End))
	}
	return w
}

// append adds a piece after the steps, as a part of the last step if its width is the same.
func (w *WidthPlan) append(piece widthPiece) {
	start, end := time.Unix(0, piece.start).UTC(), time.Unix(0, piece.end).UTC()
	if last := len(w.Steps) - 1; last >= 0 && w.Steps[last].Width == piece.width && w.Steps[last].End.Equal(start) {
		w.Steps[last].End = end
		return
	}
	w.Steps = append(w.Steps, WidthStep{Start: start, End: end, Width: piece.width})
}

// emitted returns what pods of one kW emit in a time, in g.
func (s *widthSearch) emitted(start, end int64, width int) float64 {
	return s.mean(start, end) * float64(width) * float64(end-start) / float64(time.Hour)
}

// mean returns what is expected in a time. What the forecast does not cover counts as its mean.
func (s *widthSearch) mean(start, end int64) float64 {
	if start >= end {
		end = start + 1
	}
	mean, covered := s.planner.series.Mean(time.Unix(0, start), time.Unix(0, end))
	share := float64(covered) / float64(end-start)
	return mean*share + s.planner.fill*(1-share)
}
