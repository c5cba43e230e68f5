# Every foreign library of the project, found in one place. Debian packages: scripts/packages.txt.

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)

find_package(CAF 0.17 REQUIRED)                              # actors/: CAF::core CAF::io
find_package(CapnProto REQUIRED)                             # actors/: CapnProto::capnp
find_package(OpenSSL REQUIRED)                               # OpenSSL::Crypto: HMAC (transport/), digests of keys (actors/http); OpenSSL::SSL: actors/loadgen
find_package(Boost 1.81 REQUIRED)                            # actors/, transport/: Boost::headers (Asio, Beast)
find_package(nlohmann_json REQUIRED)                         # model/, actors/: nlohmann_json::nlohmann_json
find_package(CLI11 REQUIRED)                                 # actors/bin: CLI11::CLI11
find_package(tomlplusplus REQUIRED)                          # config/: tomlplusplus::tomlplusplus
find_package(spdlog REQUIRED)                                # config/: spdlog::spdlog
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8) # model/: PkgConfig::PCRE2
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc) # model/: PkgConfig::UTF8PROC
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash) # config/: PkgConfig::XXHASH
pkg_check_modules(IBVERBS QUIET IMPORTED_TARGET libibverbs)  # transport/rdma, where it is there: PkgConfig::IBVERBS

# Tests exist where their two libraries do: building the program needs neither.
find_package(doctest QUIET)   # doctest::doctest
find_package(rapidcheck QUIET) # rapidcheck
