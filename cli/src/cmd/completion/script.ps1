# Completion of PROGRAM in PowerShell: the words come from `PROGRAM __complete`.

Register-ArgumentCompleter -Native -CommandName 'PROGRAM' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $before = @($commandAst.CommandElements | Where-Object { $_.Extent.EndOffset -lt $cursorPosition } | Select-Object -Skip 1 | ForEach-Object { $_.ToString() })
    $last = "$wordToComplete"
    # an empty word gets lost on its way to a program before PowerShell 7.3
    $empty = if ($PSVersionTable.PSVersion -lt [version]'7.3') { '""' } else { '' }
    $lines = @(& PROGRAM __complete @before $(if ($last) { $last } else { $empty }) 2> $null)
    if ($lines.Count -eq 0) { return }
    $directive = [int]$lines[-1].TrimStart(':')
    $start = if ($last -like '-*=*') { $last.Substring(0, $last.IndexOf('=') + 1) } else { '' }
    $shown = @($lines | Select-Object -SkipLast 1 | ForEach-Object {
        $word, $means = $_ -split "`t", 2
        if ("$start$word" -like "$last*") {
            if (-not $means) { $means = $word }
            $space = if ($directive -band 2) { '' } else { ' ' }
            [System.Management.Automation.CompletionResult]::new("$start$word$space", $word, 'ParameterValue', $means)
        }
    })
    if ($directive -band 8) { return }
    if ($shown.Count -gt 0) { $shown } elseif ($directive -band 4) { '' }
}
