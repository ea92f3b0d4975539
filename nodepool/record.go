package nodepool

import (
	"strconv"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/override"
)

// limitLoans returns what the notes remember of the limits that are lent, by resource. A limit is lent
// for as long as its original can be read. Where the other note is lost, what is there counts as what was
// set.
func (p *pool) limitLoans() map[string]*override.Loan {
	applied, loans := readLimits(p.Annotations[v1alpha1.AppliedLimitsAnnotation]), map[string]*override.Loan{}
	for name, original := range readLimits(p.Annotations[v1alpha1.OriginalLimitsAnnotation]) {
		loan := &override.Loan{Original: original, Applied: p.Value(limitField(name))}
		if value, ok := applied[name]; ok {
			loan.Applied = value
		}
		loans[name] = loan
	}
	return loans
}

// weightLoan returns what the notes remember of the weight, nil if the weight is not lent.
func (p *pool) weightLoan() *override.Loan {
	text, ok := p.Annotations[v1alpha1.OriginalWeightAnnotation]
	original, err := parseWeight(text)
	if !ok || err != nil && text != v1alpha1.WeightUnset {
		return nil
	}
	loan := &override.Loan{Applied: p.Value(weightField)}
	if err == nil {
		loan.Original = override.ValueOf(original)
	}
	if applied, err := parseWeight(p.Annotations[v1alpha1.AppliedWeightAnnotation]); err == nil {
		loan.Applied = override.ValueOf(applied)
	}
	return loan
}

// lent returns the fields that the pool lends at the moment.
func (p *pool) lent() (fields []override.Field) {
	for name, loan := range p.limitLoans() {
		if f := limitField(name); p.Value(f) != loan.Original {
			fields = append(fields, f)
		}
	}
	if len(fields) > 0 {
		fields = append(fields, limitsField) // which may be ours, too
	}
	if loan := p.weightLoan(); loan != nil && p.Value(weightField) != loan.Original {
		fields = append(fields, weightField)
	}
	return fields
}

// isWeight reports whether a field has a weight that a note can remember, or none.
func isWeight(v override.Value) bool {
	_, err := parseWeight(string(v))
	return err == nil || v == override.Unset
}

// weightOf returns the weight that a field has, 0 if the field has none.
func weightOf(v override.Value) int32 {
	n, err := strconv.ParseInt(string(v), 10, 32)
	if err != nil {
		return 0
	}
	return int32(n)
}

func printWeight(v override.Value) string {
	if v == override.Unset {
		return v1alpha1.WeightUnset
	}
	return string(v)
}
