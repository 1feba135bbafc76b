kubectl plugin list
