// What every file of generated bindings includes.
#include "generated/functions.h"
#include "python/arguments.h"
