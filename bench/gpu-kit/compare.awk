# Turns one CSV file (round,kind,source,detail,...) with our lines and the peer's into tables: medians over the rounds, and ratios.
function median(list,   n, v, i, j, t) {
  n = split(list, v, " ")
  for (i = 2; i <= n; i++) for (j = i; j > 1 && v[j - 1] + 0 > v[j] + 0; j--) { t = v[j]; v[j] = v[j - 1]; v[j - 1] = t }
  return n == 0 ? 0 : n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
}
function number(value, format) { return value > 0 ? sprintf(format, value) : "-" }
function place(name) { if (!(name in seen)) { seen[name] = 1; order[++places] = name } }
BEGIN { FS = ","; OFS = " | " }
$2 == "conv" { kind = "conv"; p = $5 " " $6; place(p); if ($3 == "torch") theirs[p] = theirs[p] " " $7; else { ours[p] = ours[p] " " $7; with[p] = $4 } }
$2 == "model" { kind = "model"; p = $3 " " $4; place(p); if ($3 == "torch") theirs[p] = theirs[p] " " $7; else ours[p] = ours[p] " " $7 }
END {
  if (kind == "conv") {
    print "| layer | pass | algorithm | ours, GFLOP/s | PyTorch, GFLOP/s | ratio |"
    print "|---|---|---|---|---|---|"
    for (i = 1; i <= places; i++) {
      p = order[i]; split(p, name, " "); o = median(ours[p]); t = median(theirs[p])
      ratio = o > 0 && t > 0 ? o / t : 0
      printf "| %s | %s | %s | %s | %s | %s |\n", name[1], name[2], with[p], number(o, "%.0f"), number(t, "%.0f"), number(ratio, "%.2f")
      if (ratio > 0) { logs[name[2]] += log(ratio); count[name[2]]++; if (!(name[2] in least) || ratio < least[name[2]]) { least[name[2]] = ratio; where[name[2]] = name[1] } }
    }
    for (pass in count) printf "\n%s: geometric mean of the ratios %.2f, smallest %.2f (%s)\n", pass, exp(logs[pass] / count[pass]), least[pass], where[pass]
  } else if (kind == "model") {
    for (i = 1; i <= places; i++) if (median(theirs[order[i]]) > best) best = median(theirs[order[i]])
    print "| step | images/s | of PyTorch's best |"
    print "|---|---|---|"
    for (i = 1; i <= places; i++) {
      p = order[i]; v = median(ours[p] theirs[p])
      printf "| %s | %.1f | %s |\n", p, v, number(best ? v / best : 0, "%.2f")
    }
  }
}
