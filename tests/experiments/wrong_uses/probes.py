"""Wrong uses of the programs that probe rules without training."""

from tests.experiments.wrong_uses.case import Case

OUT = "--out={tmp}/p.json"
CONDITIONING = {
    (): r"--out is missing: JSON file",
    ("--rules=",): r"--rules is empty: name some",
    (OUT, "--rules=dleta"): r"--rules=dleta: rule='dleta' is unknown: did you mean 'delta'",
    (OUT, "--rules=delta,oja"): r"--rules=oja: oja reads no values",
    (OUT, "--rules=hebb/keep=2"): r"--rules=hebb/keep=2: keep=2.0 must be at least 0 and at most 1",
    (OUT, "--rules=longhorn/form=x"): r"rule.form='x' is unknown.*valid: diagonal, exact",
    (OUT, "--rate=.3", "--seed=1"): r"--rate=0.3 and --seed=1: give one",
    (OUT, "--rate=-1"): r"rate.*-1",
}
INTERFERENCE = {
    (): r"--out is missing: JSON file",
    (OUT, "--rules=hebbian"): r"--rules=hebbian: hebbian has no memory site",
    (OUT, "--rules=delta/rate=high"): r"--rules=delta/rate=high: rate='high' must be a number",
    (OUT, "--keys=dense"): r"--keys=dense must be one of random, correlated, sparse, positive",
    (OUT, "--outliers=.6"): r"--outliers=.6 must be a number in the range \[0, 0.5\]",
    (OUT, "--dims=8,1"): r"--dims=8,1 must be integers from 2 to 4096, such as 16,32",
    (OUT, "--items="): r"--items= must be integers from 1 to 4096",
    (OUT, "--keys=sparse", "--dims=8,16", "--winners=9"): r"--winners=9 must be at most 8, as in",
}
CASES = [
    Case(program, args, says)
    for program, cases in (("conditioning", CONDITIONING), ("interference", INTERFERENCE))
    for args, says in cases.items()
]
