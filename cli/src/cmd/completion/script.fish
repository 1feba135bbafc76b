# Completion of PROGRAM in fish: the words come from `PROGRAM __complete`.

function __PROGRAM_words
    set -l before (commandline -opc)
    set -l last (commandline -ct)
    set -l lines (PROGRAM __complete $before[2..-1] "$last" 2> /dev/null)
    test (count $lines) -gt 0; or return
    set -l directive (string replace : '' -- $lines[-1])
    set -e lines[-1]
    set -l start ''
    if string match -q -- '-*=*' "$last"
        set start (string replace -r '=.*' '=' -- "$last")
    end
    if test (math "floor($directive / 8) % 2") -eq 1
        for ending in $lines
            __fish_complete_suffix .$ending
        end
        return
    end
    if test (count $lines) -eq 0; and test (math "floor($directive / 4) % 2") -eq 0
        __fish_complete_path (string replace -r '^-.*=' '' -- "$last")
        return
    end
    for line in $lines
        echo $start$line
    end
end

complete -c PROGRAM -e
complete -c PROGRAM -k -f -a '(__PROGRAM_words)'
